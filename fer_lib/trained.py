"""A finished network from its weights file alone, and what it is worth on a split of your own."""

import dataclasses
import json
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open

from fer_lib.data import load_dataset
from fer_lib.data.degradation import Degradation
from fer_lib.data.faceset import FaceSet
from fer_lib.data.loader import Loader
from fer_lib.errors import FerError
from fer_lib.evaluate import Scores, predict, score
from fer_lib.methods import Method, find_method, owner
from fer_lib.nets.backbone import Backbone
from fer_lib.parameters import Parameters
from fer_lib.recipe import Recipe, pick_device


class Trained(NamedTuple):
    """A network and what its weights file says of it.

    Attributes:
        method: in evaluation mode, on the CPU.
        recipe: it was trained by; ``size`` and ``degrade`` say which images it expects.
        about: ``method``, ``row``, ``dataset``, ``profile``, ``seed``, ``parameters``, ``classes``.

    Explained in: book/reruns.md
    """

    method: Method
    recipe: Recipe
    about: dict[str, Any]


def load_trained(path: Path) -> Trained:
    """The network of a weights file that a run has written; nothing else is read.

    Raises:
        FerError: if there is no such file, it is damaged, or it was not written by a run.

    Explained in: book/reruns.md
    """
    if not path.is_file():
        raise FerError(f"There is no weights file {path}: a run writes one beside its record, ending in .safetensors.")
    try:
        with safe_open(path, "pt") as file:
            about = json.loads((file.metadata() or {}).get("run", "null"))
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, ValueError) as error:
        raise FerError(f"Weights file {path} is damaged: copy it again.") from error
    if not isinstance(about, dict):
        raise FerError(f"Weights file {path} does not say what network it holds: take one that a run has written.")
    method, recipe = rebuild(about)
    try:
        method.load_state_dict(weights)
    except RuntimeError as error:
        raise FerError(f"Weights file {path} holds another network than this library builds: take the library that made it.") from error
    return Trained(method.eval(), recipe, about)


def rebuild(about: dict[str, Any]) -> tuple[Method, Recipe]:
    """The network that ``about`` names, with first weights, and the recipe that it was trained by.

    Args:
        about: see :class:`Trained`.

    Raises:
        FerError: if there is no such method or row, or its parameters are not of this library.

    Explained in: book/reruns.md
    """
    kind, known = find_method(about["method"]), about["parameters"]
    switches = kind.Switches(**{f.name: known[f.name] for f in dataclasses.fields(kind.Switches) if f.name in known})
    recipe = Recipe(**{name: known[name] for name in Recipe.model_fields if name in known})
    method = kind(switches, _backbone(recipe), about["classes"])
    first = getattr(switches, "recognizer", "")
    if first and owner(first) != "baseline":
        inner = Parameters(method=owner(first), row=first, profile=about["profile"])
        own, parts = inner.resolve()
        method.start(find_method(inner.method)(parts, _backbone(own.model_copy(update={"size": recipe.size})), about["classes"]))
    return method, recipe


def _backbone(recipe: Recipe) -> Backbone:
    return Backbone(recipe.backbone, recipe.stem_stride, size=recipe.size)


class Evaluation(NamedTuple):
    """What a network is worth on one split, by how many faces share a batch.

    Attributes:
        faces: the split.
        scores: batch size -> its scores.
        differ: faces that are named otherwise in the two.

    Explained in: book/reruns.md
    """

    faces: FaceSet
    scores: dict[int, Scores]
    differ: int

    def __str__(self) -> str:
        first, *_ = self.scores.values()
        heads = [f"batch {size}" for size in self.scores]
        lines = [f"{self.faces.name}, {self.faces.split}: {len(self.faces):,} faces", f"{'':24}" + "".join(f"{h:>24}" for h in heads)]
        for name in first.values:
            cells = []
            for s in self.scores.values():
                low, high = s.intervals[name]
                cells.append(f"{100 * s.values[name]:.2f} % [{100 * low:.1f}, {100 * high:.1f}]")
            lines.append(f"{name.replace('_', ' '):24}" + "".join(f"{cell:>24}" for cell in cells))
        said = "no face" if not self.differ else f"{self.differ} faces"
        return "\n".join([*lines, f"Named otherwise in the other batch: {said}."])


def evaluate(trained: Trained, dataset: str, data: str, split: str, fold: int = 0, device: str = "auto") -> Evaluation:
    """Scores on a split, one face at a time and 64 at a time: they must agree.

    The images are degraded as in the network's training, if they were.

    Raises:
        FerError: if the dataset is at fault, or has other classes than the network.

    Explained in: book/reruns.md
    """
    faces, where = load_dataset(dataset, data, split, fold), pick_device(device)
    if faces.classes != trained.about["classes"]:
        raise FerError(f"The network tells {trained.about['classes']} classes apart, {faces.name} has {faces.classes}: take a dataset of its kind.")
    method, recipe = trained.method.to(where, memory_format=torch.channels_last), trained.recipe
    spoil = Degradation.of(recipe.degrade)
    found = {n: predict(method, Loader(faces, n, where, recipe.size, degrade=spoil)) for n in (1, 64)}
    named = [logits.argmax(1) for logits, _ in found.values()]
    return Evaluation(faces, {n: score(*both) for n, both in found.items()}, int((named[0] != named[1]).sum()))
