"""What else costs time: each method's training step, drawing faces, preparing a dataset."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from fer_lib.bench.limit import step_flops
from fer_lib.bench.timing import Spread, in_turns, stopwatch
from fer_lib.data import load_dataset
from fer_lib.data.degradation import Degradation
from fer_lib.data.faces import make_faces
from fer_lib.data.faceset import FaceSet
from fer_lib.data.ferplus import FOLDERS, SIZE
from fer_lib.data.loader import Augmentation, Loader
from fer_lib.methods import METHODS, find_method
from fer_lib.methods.method import Method
from fer_lib.nets.backbone import Backbone
from fer_lib.parameters import Parameters
from fer_lib.recipe import Recipe
from fer_lib.train import fit

DRAWN = 64  # different faces; further ones are the same again
# The row of each method that has all its parts.
ROWS = {"baseline": "R0", "ll_fer": "A7", "sr_fer": "S5", "clcl": "B4", "lnl": "N4", "err_net": "E5"}


class Trainee:
    """One method, ready to be trained for a few steps in each of its stages.

    Every stage has two epochs and the second is measured: the first warms up, and ERR-Net's adversary is heard in the second.

    Args:
        name: of the method; its row is that of ``ROWS``.
        faces: with neutral twins; what the method does not need is taken off, as in a run.
        steps: to an epoch.
        profile, overrides: see :class:`fer_lib.parameters.Parameters`; ``overrides`` say the batch size.

    Explained in: book/speed.md
    """

    def __init__(self, name: str, faces: FaceSet, steps: int, device: torch.device, profile: str, overrides: str):
        recipe, switches = Parameters(method=name, row=ROWS[name], profile=profile, overrides=overrides).resolve()
        kind = find_method(name)
        if "neutral" not in kind.needs(switches):
            faces = replace(faces, neutral=None, neutral_landmarks=None)
        torch.manual_seed(0)
        backbone = Backbone(recipe.backbone, recipe.stem_stride, size=recipe.size)
        self.method: Method = kind(switches, backbone, faces.classes).to(device, memory_format=torch.channels_last)
        changes = {"epochs": 2 * len(self.method.stages()), "warmup": 0.0, "ema": 0.0}
        self.recipe: Recipe = recipe.model_copy(update=changes)
        self.train = self._loader(faces, recipe.batch_size * steps, device)
        self.small = self._loader(faces, recipe.batch_size, device)

    def _loader(self, faces: FaceSet, count: int, device: torch.device) -> Loader:
        r, rows = self.recipe, torch.arange(count) % len(faces)
        amounts, spoil = Augmentation().scaled(r.augment), Degradation.of(r.degrade)
        given = {"degrade": spoil, "target": r.target, "smoothing": r.smoothing}
        return Loader(faces.subset(rows), r.batch_size, device, r.size, amounts, "shuffled", **given)

    def seconds(self) -> dict[str, float]:
        """Of one training step, by stage."""
        epochs = fit(self.method, self.train, self.small, self.recipe, log=_silent).history.epochs
        return {epoch["stage"]: epoch["seconds"] / len(self.train) for epoch in epochs}

    def flops(self) -> dict[str, int]:
        """Counted floating-point operations of one training step, by stage."""
        return step_flops(self.method, self.small, self.recipe)


def method_steps(
    device: torch.device, profile: str, overrides: str, steps: int, repeats: int, names: tuple[str, ...] = tuple(METHODS)
) -> list[dict[str, Any]]:
    """Each method's training step against that of the bare recognizer, on the same pictures, in turns.

    Returns:
        For each method and stage ``method``, ``row``, ``stage``, ``step`` (seconds) and ``ratio`` (of it to the recognizer's), each a
        :class:`Spread`, and ``flops_ratio``, the same of the counted arithmetic. The recognizer is there itself, with ratio 1.

    Explained in: book/speed.md
    """
    recipe, _ = Parameters(profile=profile, overrides=overrides).resolve()
    faces = make_faces(min(DRAWN, recipe.batch_size * steps), size=recipe.size, neutral=True)
    trainees = {name: Trainee(name, faces, steps, device, profile, overrides) for name in dict.fromkeys(("baseline", *names))}
    turns = in_turns({name: trainee.seconds for name, trainee in trainees.items()}, repeats)
    flops = {name: trainee.flops() for name, trainee in trainees.items()}
    bare, counted = [turn["train"] for turn in turns["baseline"]], flops["baseline"]["train"]
    lines = []
    for name in trainees:
        for stage in turns[name][0]:
            steps_of = [turn[stage] for turn in turns[name]]
            ratios = [own / other for own, other in zip(steps_of, bare, strict=True)]
            line = {"method": name, "row": ROWS[name], "stage": stage, "step": Spread.of(steps_of), "ratio": Spread.of(ratios)}
            lines.append(line | {"flops_ratio": flops[name][stage] / counted})
    return lines


def drawing(sizes: tuple[int, ...], count: int, repeats: int, device: torch.device) -> list[dict[str, Any]]:
    """The face generator: for each size ``size``, ``images_per_second`` (a :class:`Spread`).

    Explained in: book/speed.md
    """
    def draw(size: int) -> float:
        return stopwatch(lambda: make_faces(count, size=size, device=str(device)), device)

    times = in_turns({str(size): partial(draw, size) for size in sizes}, repeats)
    return [{"size": int(size), "images_per_second": Spread.of([count / t for t in own])} for size, own in times.items()]


def preparation(count: int, repeats: int) -> dict[str, Any]:
    """Preparing a dataset: the first call decodes every picture, a later one maps the result into memory.

    Returns:
        ``images``, ``images_per_second`` of the first call, ``again``: seconds of a later one; a :class:`Spread` each.

    Explained in: book/speed.md
    """
    with tempfile.TemporaryDirectory() as folder:
        data = write_ferplus(make_faces(min(count, DRAWN), size=SIZE), count, Path(folder) / "data")
        times = [prepare(data) for _ in range(repeats + 1)][1:]
    rates = Spread.of([count / first for first, _ in times])
    return {"images": count, "images_per_second": rates, "again": Spread.of([again for _, again in times])}


def prepare(data: Path) -> tuple[float, float]:
    """Seconds of the first and of the second call that loads the training part of a FERPlus folder, with an empty cache.

    Explained in: book/speed.md
    """
    cpu = torch.device("cpu")
    with tempfile.TemporaryDirectory() as empty, _cache_in(empty):
        first, again = (stopwatch(lambda: load_dataset("ferplus", data, "train"), cpu) for _ in range(2))
    return first, again


def write_ferplus(faces: FaceSet, count: int, folder: Path) -> Path:
    """A folder that looks like FERPlus, with so many pictures in its training part: the faces in grey, again and again.

    Args:
        faces: of 48 pixels.

    Explained in: book/speed.md
    """
    part = folder / FOLDERS["train"]
    part.mkdir(parents=True)
    lines = []
    for row in range(count):
        image, label = faces.images[row % len(faces)], int(faces.labels[row % len(faces)])
        name = f"fer{row:07d}.png"
        Image.fromarray(image.permute(1, 2, 0).numpy()).convert("L").save(part / name)
        votes = ["9" if k == label else "0" for k in range(10)]
        lines.append(",".join([name, f'"(0, 0, {SIZE}, {SIZE})"', *votes]))
    (part / "label.csv").write_text("\n".join(lines))
    return folder


@contextmanager
def _cache_in(folder: str) -> Iterator[None]:
    before = os.environ.get("FER_LIB_CACHE")
    os.environ["FER_LIB_CACHE"] = folder
    try:
        yield
    finally:
        if before is None:
            del os.environ["FER_LIB_CACHE"]
        else:
            os.environ["FER_LIB_CACHE"] = before


def _silent(line: str) -> None:
    """Where the epochs' lines go."""
