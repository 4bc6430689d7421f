"""The limit: how much arithmetic a training step is, and how much the machine can do at best."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

from fer_lib.bench.timing import stopwatch
from fer_lib.data.loader import Loader
from fer_lib.evaluate import predict
from fer_lib.methods.method import Method
from fer_lib.recipe import Recipe
from fer_lib.train import fit

PRECISIONS = {"bf16": torch.bfloat16, "fp32": torch.float32}
# (pictures, channels, side) of 3x3 convolutions as the middle of a ResNet has them, and the side of two matrices.
SHAPES = {"cpu": (((32, 128, 28), (32, 256, 14)), 2048), "cuda": (((256, 256, 28), (256, 512, 14)), 8192)}


def predict_flops(method: Method, loader: Loader) -> int:
    """Floating-point operations of matrix products and convolutions in predictions for all faces of a loader.

    A multiplication and an addition are two.

    Explained in: book/speed.md
    """
    with FlopCounterMode(display=False) as counter:
        predict(method, loader)
    return counter.get_total_flops()


def step_flops(method: Method, train: Loader, recipe: Recipe) -> dict[str, int]:
    """Floating-point operations of one training step, forward and back, by stage of training.

    Counted in the last epoch of each stage, in the training loop itself. What is no matrix product and no
    convolution (norms, k-means, augmentation ...) is not counted.

    Args:
        recipe: with enough epochs for the method's stages.

    Explained in: book/speed.md
    """
    seen, validation = [], predict_flops(method, train)
    with FlopCounterMode(display=False) as counter:
        history = fit(method, train, train, recipe, log=lambda line: seen.append(counter.get_total_flops())).history
    counts = [after - before - validation for before, after in zip([0, *seen], seen, strict=False)]
    return {epoch["stage"]: count // len(train) for epoch, count in zip(history.epochs, counts, strict=True)}


def measured_peak(device: torch.device, precision: str, repeats: int = 5, shapes=None) -> dict[str, float]:
    """Floating-point operations a second in large products: ``matrix`` and ``convolution``, each the best that was seen.

    Args:
        precision: ``bf16`` or ``fp32``; what PyTorch makes of the latter on this device by default.
        shapes: another value of ``SHAPES``.

    Explained in: book/speed.md
    """
    dtype = PRECISIONS[precision]
    convolutions, side = shapes or SHAPES.get(device.type, SHAPES["cpu"])
    a, b = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    found = {"matrix": _best(lambda: a @ b, 2 * side**3, device, repeats)}
    rates = []
    for pictures, channels, wide in convolutions:
        image = torch.randn(pictures, channels, wide, wide, device=device, dtype=dtype)
        image = image.contiguous(memory_format=torch.channels_last)
        weight = torch.randn(channels, channels, 3, 3, device=device, dtype=dtype)
        weight = weight.contiguous(memory_format=torch.channels_last)
        flops = 2 * 9 * channels**2 * pictures * wide**2
        rates.append(_best(lambda image=image, weight=weight: F.conv2d(image, weight, padding=1), flops, device, repeats))
    return found | {"convolution": max(rates)}


@torch.no_grad()
def _best(work: Callable[[], object], flops: int, device: torch.device, repeats: int, calls: int = 10) -> float:
    """The highest rate of some repeats, each of several calls; the first repeat warms up."""
    times = [stopwatch(lambda: [work() for _ in range(calls)], device) for _ in range(repeats + 1)]
    return flops * calls / min(times[1:])
