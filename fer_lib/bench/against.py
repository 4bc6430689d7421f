"""``fer_lib`` against the public recipe: same network, same data, same batch, in turns."""

import multiprocessing
import tempfile
from concurrent.futures import ProcessPoolExecutor
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from fer_lib.bench.limit import predict_flops, step_flops
from fer_lib.bench.own import OwnRecipe
from fer_lib.bench.public import Plain, PublicRecipe
from fer_lib.bench.timing import Spread, in_turns, resident_peak, stopwatch, workers_memory
from fer_lib.data.faces import make_faces
from fer_lib.data.faceset import FaceSet
from fer_lib.data.loader import Augmentation, Loader
from fer_lib.methods.baseline import Baseline
from fer_lib.nets.backbone import Backbone
from fer_lib.parameters import PROFILES
from fer_lib.recipe import Recipe

DRAWN = 128  # different faces; further ones are the same again, in files of their own
SIDES = ("public", "fer_lib")
WORKS = ("train", "train_alone", "predict", "predict_alone")


@dataclass(frozen=True)
class Setting:
    """What is compared.

    Attributes:
        size: side of the pictures in pixels; batch: pictures to a step; steps: batches to an epoch.
        device: as torch spells it.
        workers: processes of the public recipe that read pictures.
        backbone, stem_stride: of both networks, see :class:`fer_lib.nets.backbone.Backbone`.

    Explained in: book/speed.md
    """

    size: int
    batch: int
    steps: int
    device: str
    workers: int
    backbone: str = "resnet18"
    stem_stride: int = 4

    @property
    def recipe(self) -> Recipe:
        """The ``full`` profile at this size, without averaged weights and clipped gradients: the public recipe has neither."""
        changes = {"size": self.size, "batch_size": self.batch, "backbone": self.backbone, "ema": 0.0, "clip": 0.0}
        return PROFILES["full"].model_copy(update=changes | {"stem_stride": self.stem_stride})

    def network(self) -> Baseline:
        """A recognizer, always with the same first weights; on the CPU, in NCHW."""
        torch.manual_seed(0)
        return Baseline(Baseline.Switches(), Backbone(self.backbone, self.stem_stride, size=self.size), 8)


def pictures(size: int, count: int) -> FaceSet:
    """Procedural faces with a label and nothing else; after ``DRAWN`` of them the same again.

    Explained in: book/speed.md
    """
    faces = make_faces(min(count, DRAWN), size=size)
    bare = replace(faces, landmarks=None, masks=None, action_units=None, subjects=None)
    return bare.subset(torch.arange(count) % len(faces))


def both(setting: Setting, faces: FaceSet, folder: Path, which: tuple[str, ...] = SIDES) -> dict[str, Any]:
    """The two recipes by name, or one of them, each with a network of its own that begins with the same weights.

    Explained in: book/speed.md
    """
    device, amounts, network = torch.device(setting.device), Augmentation(), setting.network()
    made: dict[str, Any] = {}
    if "public" in which:
        plain = Plain(deepcopy(network)).to(device)
        made["public"] = PublicRecipe(faces, folder, plain, setting.batch, setting.size, amounts, setting.workers)
    if "fer_lib" in which:
        own = network.to(device, memory_format=torch.channels_last)
        made["fer_lib"] = OwnRecipe(faces, own, device, setting.recipe, amounts)
    return made


def compare(setting: Setting, repeats: int) -> dict[str, Any]:
    """Both recipes, training and prediction, whole and on a batch that is there already, in turns.

    Returns:
        ``size``, ``batch``, ``images`` (to an epoch), and for ``train`` and ``predict``: for each recipe ``images_per_second``
        and ``outside``, the share of the time that is not the network's; ``ratio``: how many times faster ``fer_lib`` is;
        each a :class:`Spread` over the repeats. ``flops``: of one picture, by the same names.

    Explained in: book/speed.md
    """
    count = setting.batch * setting.steps
    faces = pictures(setting.size, count)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        recipes = both(setting, faces, Path(folder))
        works = {f"{side} {work}": getattr(recipes[side], work) for work in WORKS for side in SIDES}
        times = in_turns(works, repeats)
    seconds = {work: {side: times[f"{side} {work}"] for side in SIDES} for work in WORKS}
    found = {work: figures(count, seconds[work], seconds[f"{work}_alone"]) for work in ("train", "predict")}
    flops = flops_of(setting, faces)
    return {"size": setting.size, "batch": setting.batch, "images": count, **found, "flops": flops}


def figures(count: int, whole: dict[str, list[float]], alone: dict[str, list[float]]) -> dict[str, Any]:
    """From the seconds of both recipes, for ``count`` pictures, to what :func:`compare` returns of them.

    Args:
        whole, alone: by recipe, one value for each repeat: with the data, and the network by itself.

    Explained in: book/speed.md
    """
    found: dict[str, Any] = {}
    for side in SIDES:
        pairs = list(zip(whole[side], alone[side], strict=True))
        found[side] = {
            "images_per_second": Spread.of([count / total for total, _ in pairs]),
            "outside": Spread.of([1 - network / total for total, network in pairs]),
        }
    slow, fast = (whole[side] for side in SIDES)
    return found | {"ratio": Spread.of([a / b for a, b in zip(slow, fast, strict=True)])}


def flops_of(setting: Setting, faces: FaceSet) -> dict[str, float]:
    """Floating-point operations of one picture: ``train`` forward and back, ``predict`` forward.

    Explained in: book/speed.md
    """
    one = faces.subset(torch.arange(setting.batch))
    loader, network = Loader(one, setting.batch, setting.device, setting.size), setting.network().to(setting.device)
    recipe = setting.recipe.model_copy(update={"epochs": 1})
    counts = {"train": step_flops(network, loader, recipe)["train"], "predict": predict_flops(network, loader)}
    return {name: count / setting.batch for name, count in counts.items()}


def choose_steps(setting: Setting, seconds: float, least: int, most: int) -> int:
    """How many steps of the public recipe's network take about so many seconds; at least and at most so many.

    Explained in: book/speed.md
    """
    device = torch.device(setting.device)
    network = Plain(setting.network()).to(device)
    image = torch.rand(setting.batch, 3, setting.size, setting.size, device=device)
    step = min(stopwatch(lambda: network(image).sum().backward(), device) for _ in range(3))
    return max(least, min(most, int(seconds / step)))


def memory(setting: Setting) -> dict[str, int]:
    """Peak memory of some training steps of each recipe, in bytes, each measured in a process of its own.

    On a CPU that of the process, the libraries included, and what the workers have for themselves; on a graphics card
    what PyTorch has allocated on it.

    Explained in: book/speed.md
    """
    found = {}
    for side in SIDES:
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
            found[side] = process.submit(peak_of, side, setting, torch.get_num_threads()).result()
    return found


def peak_of(side: str, setting: Setting, threads: int) -> int:
    """Bytes of memory that this process and its workers have needed, after one epoch of one recipe.

    Explained in: book/speed.md
    """
    torch.set_num_threads(threads)
    faces = pictures(setting.size, setting.batch * setting.steps)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        recipe = both(setting, faces, Path(folder), (side,))[side]
        recipe.train()
        if recipe.device.type == "cuda":
            return torch.cuda.max_memory_allocated()
        return resident_peak() + workers_memory()
