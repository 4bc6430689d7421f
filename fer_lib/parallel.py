"""Several processes train as one: each computes its slice of every batch, and what needs the whole batch gets it.

A batch's loss is the sum over processes of :func:`share` times the loss of the slice. That sum is what is
differentiated, so a function that sums over processes must sum their gradients too (:func:`all_sum`).
"""

import atexit
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from fer_lib.errors import FerError

T = TypeVar("T")
_split = False


def join_processes(device: str) -> None:
    """Join the other processes, if ``torchrun`` started this one as one of several; else do nothing.

    On NVIDIA cards they speak through NCCL, each with the card of its local rank; on the CPU through gloo.

    Args:
        device: as in :class:`fer_lib.parameters.Parameters`: ``auto``, ``cpu``, ``cuda``.

    Raises:
        FerError: if the device serves one process only, or there are more processes than cards.

    Explained in: book/reruns.md
    """
    if dist.is_initialized() or not dist.is_torchelastic_launched() or os.environ["WORLD_SIZE"] == "1":
        return
    if device not in ("auto", "cpu", "cuda") or device == "auto" and torch.backends.mps.is_available():
        raise FerError(f"Device '{device}' is for one process here: with torchrun take cpu or cuda.")
    cards, place = torch.cuda.device_count(), int(os.environ["LOCAL_RANK"])
    graphics = device == "cuda" or device == "auto" and cards > 0
    if graphics and place >= cards:
        raise FerError(f"There are {cards} graphics cards here: start at most so many processes, or take --device cpu.")
    if graphics:
        torch.cuda.set_device(place)
    dist.init_process_group("nccl" if graphics else "gloo")
    atexit.register(dist.destroy_process_group)


def world() -> int:
    """How many processes train together; 1 without ``torchrun``.

    Explained in: book/reruns.md
    """
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    """This process's number, from 0; process 0 alone writes and speaks.

    Explained in: book/reruns.md
    """
    return dist.get_rank() if dist.is_initialized() else 0


def on_first(call: Callable[..., T], *args) -> T:
    """What ``call(*args)`` returns in process 0, in every process; the others wait for it.

    Raises:
        Exception: what the call raises, in every process.

    Explained in: book/reruns.md
    """
    if world() == 1:
        return call(*args)
    result, error = None, None
    if rank() == 0:
        try:
            result = call(*args)
        except Exception as raised:
            error = raised
    box = [result, error]
    dist.broadcast_object_list(box)
    if box[1] is not None:
        raise box[1]
    return box[0]


@contextmanager
def split_batches() -> Iterator[None]:
    """Within, a batch is split over the processes: loaders give slices, and batch norm sees the whole batch.

    Outside, and in a single process, every function below takes what it is given for the whole batch.

    Explained in: book/reruns.md
    """
    global _split
    if world() == 1:
        yield
        return
    _split = True
    try:
        with _WholeBatchNorm():
            yield
    finally:
        _split = False


def own_part(count: int) -> slice:
    """Which of the ``count`` faces of a batch are this process's: sizes differ by one at most.

    Raises:
        FerError: if there are fewer faces than processes.

    Explained in: book/reruns.md
    """
    if not _split:
        return slice(0, count)
    if count < world():
        raise FerError(f"A batch of {count} faces cannot be split over {world()} processes: raise batch_size.")
    return slice(rank() * count // world(), (rank() + 1) * count // world())


def all_sum(x: Tensor) -> Tensor:
    """The sum over processes, in every process; its gradient is the sum of their gradients.

    Explained in: book/reruns.md
    """
    return _AllSum.apply(x) if _split else x


def share(rows: Tensor) -> Tensor | float:
    """The share of the batch that these rows (B, ...) are; 1.0 where nothing is split.

    Explained in: book/reruns.md
    """
    if not _split:
        return 1.0
    own = torch.tensor(float(len(rows)), device=rows.device)
    return own / all_sum(own)


def gather(rows: Tensor) -> Tensor:
    """The rows of all processes, in the batch's order, differentiable.

    Shapes:
        (B, ...) with a B of each process's own -> (sum of all B, ...).

    Explained in: book/reruns.md
    """
    if not _split:
        return rows
    sizes = torch.zeros(world(), dtype=torch.int64, device=rows.device)
    sizes[rank()] = len(rows)
    sizes = all_sum(sizes).tolist()
    before, after = (rows.new_zeros(sum(part), *rows.shape[1:]) for part in (sizes[: rank()], sizes[rank() + 1 :]))
    return all_sum(torch.cat([before, rows, after]))


def sum_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Sum the parameters' gradients over the processes, in place and in one message.

    Explained in: book/reruns.md
    """
    if not _split:
        return
    gradients = [p.grad for p in parameters if p.grad is not None]
    flat = _reduced(torch.cat([g.reshape(-1) for g in gradients]))
    for gradient, part in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(part.view(gradient.shape))


def batch_norm(
    x: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """``torch.nn.functional.batch_norm`` with the mean and variance of the whole batch.

    Running statistics too are those of one process: the variance with N - 1 in its denominator,
    N the values of a channel in all slices.

    Shapes:
        (B, C, ...) -> (B, C, ...).

    Explained in: book/reruns.md
    """
    if not training:
        return F.batch_norm(x, running_mean, running_var, weight, bias, False, momentum, eps)
    places, channel = [d for d in range(x.ndim) if d != 1], (-1, *[1] * (x.ndim - 2))
    values = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
    sums = all_sum(torch.cat([values.sum(places), values.new_tensor([x.numel() / x.shape[1]])]))
    count = sums[-1].detach()
    mean = sums[:-1] / count  # (C,)
    values = values - mean.view(channel)
    variance = all_sum(values.square().sum(places)) / count
    if running_mean is not None:
        running_mean.lerp_(mean.detach().to(running_mean.dtype), momentum)
        running_var.lerp_((variance.detach() * count / (count - 1)).to(running_var.dtype), momentum)
    values = values * (variance + eps).rsqrt().view(channel)
    if weight is not None:
        values = values * weight.view(channel) + bias.view(channel)
    return values.to(x.dtype)


class _WholeBatchNorm(TorchFunctionMode):
    """Every call of torch's batch norm, whichever module makes it, becomes :func:`batch_norm`."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        return (batch_norm if function is F.batch_norm else function)(*args, **(kwargs or {}))


class _AllSum(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        return _reduced(x)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:
        return _reduced(gradient)


def _reduced(x: Tensor) -> Tensor:
    total = x.detach().clone(memory_format=torch.contiguous_format)
    dist.all_reduce(total)
    return total
