"""Parameters in, one record out: what the chapters, the command line and the sweeps all call."""

import dataclasses
import difflib
import os
import resource
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors.torch import save_file
from torch import Tensor

from fer_lib.data import DATASETS, load_dataset
from fer_lib.data.faces import make_faces
from fer_lib.data.faceset import FaceSet
from fer_lib.data.loader import Augmentation, Loader
from fer_lib.errors import FerError
from fer_lib.evaluate import Scores, predict, score
from fer_lib.methods import METHODS, Method, find_method
from fer_lib.nets.backbone import Backbone
from fer_lib.recipe import Recipe, mixed_precision, pick_device
from fer_lib.record import LIBRARY, Chosen, Record, commit, describe, record_path, sources, versions, write_record
from fer_lib.train import Fitted, fit

RUNS = LIBRARY.parent / "runs"
ENOUGH_FACES = {"train": 20_000, "val": 2_000, "test": 2_000}

_SMALL = Recipe(backbone="resnet10_narrow", stem_stride=2, size=64, batch_size=32, augment=0.3)
PROFILES: dict[str, Recipe] = {
    "smoke": _SMALL.model_copy(
        update=dict(size=48, train_images=96, val_images=64, test_images=64, epochs=2, warmup=0.0)
    ),
    "quick": _SMALL.model_copy(update=dict(train_images=4000, val_images=1000, test_images=1000, epochs=8)),
    "laptop": _SMALL.model_copy(update=dict(backbone="resnet18_narrow", size=48, batch_size=64, epochs=14, augment=1.0)),
    "full": Recipe(epochs=60, ema=0.999),
}


class Parameters(BaseModel):
    """Which run: the plain scalars of a chapter's parameters cell, or of the command line.

    Attributes:
        method: a key of :data:`fer_lib.methods.METHODS`.
        row: a row of the method's ablation table.
        dataset: ``faces`` (procedural, nothing to download) or a layout of :mod:`fer_lib.data`.
        data: where the dataset lies; not for ``faces``.
        profile: ``smoke`` (seconds, for tests), ``quick`` (a chapter on a laptop),
            ``laptop`` (real data on two CPU cores, up to half an hour), ``full`` (a GPU).
        seed: of the weights, the order and the augmentation; the faces stay the same.
        device: ``auto``, ``cpu``, ``cuda`` ...
        out: folder for the record and the weights; "" is ``runs`` in the repository.
        split: what is measured on; "" is ``test`` for ``faces``, ``val`` otherwise.
        overrides: changed knobs of the recipe or the method, as ``"epochs=3 lr=0.05"``.

    Raises:
        FerError: from :meth:`of` and :meth:`resolve`, in one sentence.

    Explained in: book/baseline.ipynb
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: str = "baseline"
    row: str = "R0"
    dataset: str = "faces"
    data: str = ""
    profile: Literal["smoke", "quick", "laptop", "full"] = "quick"
    seed: int = Field(0, ge=0)
    device: str = "auto"
    out: str = ""
    split: Literal["", "val", "test"] = ""
    overrides: str = ""

    @property
    def name(self) -> str:
        """The run's file name: ``R0-faces-quick-seed0``, and what departs from the row's standard."""
        changes = [self.split, *self.overrides.split()]
        return "-".join([self.row, self.dataset, self.profile, *filter(None, changes), f"seed{self.seed}"])

    @classmethod
    def of(cls, namespace: dict[str, Any], **fixed: Any) -> "Parameters":
        """From a notebook's ``globals()``: no plain scalar there may be unknown, no value unfit."""
        chosen = check_names(namespace, tuple(cls.model_fields))
        try:
            return cls(**{**chosen, **fixed})
        except ValidationError as error:
            raise _one_sentence(error, "Parameter") from error

    def resolve(self) -> tuple[Recipe, Any]:
        """The recipe and the method's switches: profile, then row, then overrides."""
        method = find_method(self.method)
        if self.row not in method.ROWS:
            raise FerError(f"{self.method} has no row '{self.row}': choose one of {', '.join(method.ROWS)}.")
        changes = {**method.ROWS[self.row], **_parse(self.overrides)}
        switches = {f.name: f for f in dataclasses.fields(method.Switches)}
        for name in changes:
            if name not in switches and name not in Recipe.model_fields:
                raise FerError(_unknown(name, [*switches, *Recipe.model_fields]))
        recipe = {**PROFILES[self.profile].model_dump(), **{k: v for k, v in changes.items() if k not in switches}}
        try:
            kinds = {k: type(f.default) for k, f in switches.items()}
            chosen = {k: _convert(k, v, kinds[k]) for k, v in changes.items() if k in switches}
            return Recipe(**recipe), method.Switches(**chosen)
        except ValidationError as error:
            raise _one_sentence(error, "Knob") from error


@dataclass
class Run:
    """A finished run: its record and where it lies, and what a chapter looks at live.

    ``method`` holds the last epoch's weights; ``logits`` (N, K) are its predictions
    for ``faces``, the split that was measured.

    Explained in: book/baseline.ipynb
    """

    record: Record
    path: Path
    method: Method
    faces: FaceSet
    logits: Tensor
    loader: Loader


def run(parameters: Parameters, log=print) -> Run:
    """Load or generate, train, evaluate, and write one record and the weights.

    A killed run, called again, continues after its last whole epoch.

    Raises:
        FerError: if a parameter, the data or the training is at fault.

    Explained in: book/baseline.ipynb
    """
    recipe, switches = parameters.resolve()
    device = pick_device(parameters.device)
    torch.manual_seed(parameters.seed)
    kind = find_method(parameters.method)
    split = parameters.split or ("test" if parameters.dataset == "faces" else "val")
    needs = kind.needs(switches)
    sets = {s: load_faces(parameters, recipe, s, needs, device) for s in dict.fromkeys(("train", "val", split))}
    backbone = Backbone(recipe.backbone, recipe.stem_stride, recipe.weights)
    method = kind(switches, backbone, sets["train"].classes).to(device, memory_format=torch.channels_last)
    amounts = Augmentation().scaled(recipe.augment) if recipe.augment else None
    train = Loader(sets["train"], recipe.batch_size, device, recipe.size, amounts, True, parameters.seed)
    tests = {s: Loader(sets[s], 256, device, recipe.size) for s in ("val", split)}
    out = Path(parameters.out) if parameters.out else RUNS
    path = record_path(out, parameters.method, parameters.name)
    made_by = sources(parameters.method, parameters.dataset)
    fitted = fit(
        method, train, tests["val"], recipe, parameters.seed, path.with_suffix(".ckpt"), f"{switches} {made_by}", log
    )
    logits, labels = predict(method, tests[split])
    last = _score(logits, labels, sets[split])
    chosen = _score(*_predict_chosen(method, fitted, tests[split]), sets[split])
    record = Record(
        **parameters.model_dump(include={"method", "row", "dataset", "profile", "seed"}),
        split=split,
        parameters={**recipe.model_dump(), **dataclasses.asdict(switches), "overrides": parameters.overrides},
        fingerprint={s: faces.fingerprint for s, faces in sets.items()},
        metrics=last.values,
        intervals=last.intervals,
        confusion=last.confusion,
        chosen=Chosen(epoch=fitted.history.chosen, metrics=chosen.values, intervals=chosen.intervals),
        labels="".join(map(str, labels.tolist())),
        predicted="".join(map(str, logits.argmax(1).tolist())),
        history=fitted.history.epochs,
        cost=_cost(fitted, train, method, device),
        device=describe(device, mixed_precision(recipe, device)),
        versions=versions(),
        sources=made_by,
        commit=commit(),
        finished=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    save_file({k: v.contiguous() for k, v in method.state_dict().items()}, path.with_suffix(".safetensors"))
    write_record(record, path)
    path.with_suffix(".ckpt").unlink(missing_ok=True)
    accuracy, recall = (100 * last.values[name] for name in ("accuracy", "macro_recall"))
    log(f"{split}: accuracy {accuracy:.1f} %, macro recall {recall:.1f} %; record {os.path.relpath(path)}")
    return Run(record, path, method, sets[split], logits, tests[split])


def load_faces(
    parameters: Parameters, recipe: Recipe, split: str, needs: frozenset[str] = frozenset(), device="cpu"
) -> FaceSet:
    """The faces of one split, in the number that the recipe asks for.

    Raises:
        FerError: if the dataset is unknown, its path is missing, or it lacks what the method needs.

    Explained in: book/baseline.ipynb
    """
    count = getattr(recipe, f"{split}_images")
    if parameters.dataset == "faces":
        options = {} if recipe.difficulty < 0 else {"difficulty": recipe.difficulty}
        count = count or ENOUGH_FACES[split]
        faces = make_faces(count, split, size=recipe.size, neutral="neutral" in needs, device=device, **options)
    elif parameters.dataset in DATASETS and not parameters.data:
        raise FerError(f"Dataset {parameters.dataset} needs its path: give data (--data PATH).")
    else:
        faces = load_dataset(parameters.dataset, parameters.data, split)
        if 0 < count < len(faces):
            some = torch.randperm(len(faces), generator=torch.Generator().manual_seed(0))[:count]
            faces = faces.subset(some.sort().values)
    for name in needs:
        if getattr(faces, name) is None:
            raise FerError(f"{parameters.method} row {parameters.row} needs {name}, which {faces.name} does not have.")
    return faces


def check_names(namespace: dict[str, Any], known: tuple[str, ...]) -> dict[str, Any]:
    """The parameters among a notebook's ``globals()``, if there is no plain scalar of another name.

    The names are checked once per kernel, before the chapter has variables of its own.

    Raises:
        FerError: naming the first unknown one; papermill itself would only warn.

    Explained in: book/faces.ipynb
    """
    if not namespace.get("_names_are_checked"):
        for name, value in namespace.items():
            if name not in known and isinstance(value, str | int | float) and not name.startswith("_"):
                raise FerError(_unknown(name, list(known)))
        namespace["_names_are_checked"] = True
    return {name: namespace[name] for name in known if name in namespace}


def _score(logits: Tensor, labels: Tensor, faces: FaceSet) -> Scores:
    """All metrics, and accuracy and macro recall on the faces with a clear majority, where that is known."""
    scores = score(logits, labels)
    if faces.clear is not None and faces.clear.any():
        clear = score(logits[faces.clear], labels[faces.clear])
        for name in ("accuracy", "macro_recall"):
            scores.values[f"{name}_clear"] = clear.values[name]
            scores.intervals[f"{name}_clear"] = clear.intervals[name]
    return scores


def _predict_chosen(method: Method, fitted: Fitted, loader: Loader) -> tuple[Tensor, Tensor]:
    last = {k: v.clone() for k, v in method.state_dict().items()}
    method.load_state_dict(fitted.chosen)
    result = predict(method, loader)
    method.load_state_dict(last)
    return result


def _parse(text: str) -> dict[str, str]:
    pairs = [part.partition("=") for part in text.split()]
    for name, equals, _ in pairs:
        if not equals:
            raise FerError(f"Override '{name}' has no value: write name=value, several with a space between.")
    return {name: value for name, _, value in pairs}


def _convert(name: str, value: Any, kind: type) -> Any:
    try:
        if kind is bool and isinstance(value, str):
            return {"true": True, "false": False}[value.lower()]
        return kind(value)
    except (ValueError, KeyError) as error:
        raise FerError(f"Knob {name} cannot be '{value}': it takes a {kind.__name__}.") from error


def _unknown(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, 1)
    return f"There is no parameter '{name}': " + (f"did you mean '{near[0]}'?" if near else f"choose {', '.join(known)}.")


def _one_sentence(error: ValidationError, what: str) -> FerError:
    first = error.errors()[0]
    return FerError(f"{what} {first['loc'][0]} cannot be '{first['input']}': {first['msg'][0].lower()}{first['msg'][1:]}.")


def _cost(fitted: Fitted, train: Loader, method: Method, device: torch.device) -> dict[str, float]:
    seconds = fitted.history.seconds
    images = len(fitted.history.epochs) * min(len(train) * train.batch_size, len(train.faces))
    if device.type == "cuda":
        peak = torch.cuda.max_memory_allocated(device) / 2**20
    else:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
    return {
        "seconds": round(seconds, 2),
        "images_per_second": round(images / seconds, 1),
        "peak_memory_mb": round(peak),
        "parameters": sum(p.numel() for p in method.parameters()),
    }
