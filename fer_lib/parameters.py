"""The parameters of a run: checked names, profiles, and what a row and an override change."""

import dataclasses
import difflib
import json
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fer_lib.errors import FerError
from fer_lib.methods import find_method, owner
from fer_lib.recipe import Recipe

_SMALL = Recipe(backbone="resnet10_narrow", stem_stride=2, size=64, batch_size=32, augment=0.3)
PROFILES: dict[str, Recipe] = {
    "smoke": _SMALL.model_copy(
        update=dict(size=48, train_images=96, val_images=64, test_images=64, epochs=2, warmup=0.0)
    ),
    "page": _SMALL.model_copy(update=dict(size=48, train_images=1000, val_images=200, test_images=300, epochs=6)),
    "quick": _SMALL.model_copy(update=dict(train_images=4000, val_images=1000, test_images=1000, epochs=8)),
    "laptop": _SMALL.model_copy(update=dict(backbone="resnet18_narrow", size=48, batch_size=64, epochs=14, augment=1.0)),
    "full": Recipe(epochs=60, ema=0.999),
}

# Where a training step costs several times the recognizer's, a profile's bound asks for fewer of them.
BUDGETS: dict[tuple[str, str], dict[str, Any]] = {
    **{(method, "quick"): dict(train_images=1000, val_images=250, epochs=6) for method in ("ll_fer", "sr_fer")},
    **{(method, "laptop"): dict(train_images=6000, epochs=6) for method in ("ll_fer", "sr_fer")},
    ("lnl", "quick"): dict(train_images=3000, val_images=500, batch_size=16),
    ("lnl", "page"): dict(batch_size=16),
    **{(method, "laptop"): dict(train_images=12000, epochs=8) for method in ("clcl", "lnl")},
    ("clcl", "quick"): dict(train_images=2000, val_images=250, epochs=7),
    ("err_net", "quick"): dict(size=48, train_images=4000, val_images=250, test_images=800, batch_size=16, epochs=10),
    ("err_net", "page"): dict(train_images=800, val_images=160, test_images=240, batch_size=16),
    ("err_net", "laptop"): dict(batch_size=16, epochs=160, lr=0.001),  # few pairs: all of them, often, in small steps
    ("clcl", "page"): dict(train_images=640, val_images=160, test_images=640, epochs=5),
}

# What a dataset changes of a profile: the size of its pictures, a first layer that fits them, equal draws of very unequal classes.
OF_DATASET: dict[tuple[str, str], dict[str, Any]] = {
    ("facial_expressions", "laptop"): dict(size=128, stem_stride=4, sampler="balanced"),
    ("facial_expressions", "full"): dict(size=128, sampler="balanced"),
}


class Parameters(BaseModel):
    """Which run: the plain scalars of a chapter's parameters cell, or of the command line.

    Attributes:
        method: a key of :data:`fer_lib.methods.METHODS`.
        row: a row of the method's ablation table.
        dataset: ``faces`` (procedural, nothing to download) or a layout of :mod:`fer_lib.data`.
        data: where the dataset lies; not for ``faces``.
        profile: ``smoke`` (seconds, for tests), ``page`` (what a method's chapter trains while the
            book is built), ``quick`` (a row of a table on a laptop, minutes),
            ``laptop`` (real data on two CPU cores, most rows in up to half an hour), ``full`` (a GPU).
        fold: which people are tested and which validate, where a dataset has no official split.
        seed: of the weights, the order and the augmentation; the faces stay the same.
        device: ``auto``, ``cpu``, ``cuda`` ...
        out: folder for the record and the weights; "" is ``runs`` in the repository.
        split: what is measured on; "" is ``test`` for ``faces``, ``val`` otherwise.
        overrides: changed parameters of the recipe or the method, as ``"epochs=3 lr=0.05"``.

    Raises:
        FerError: from :meth:`of` and :meth:`resolve`, in one sentence.

    Explained in: book/baseline.ipynb
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: str = "baseline"
    row: str = "R0"
    dataset: str = "faces"
    data: str = ""
    profile: Literal["smoke", "page", "quick", "laptop", "full"] = "quick"
    fold: int = Field(0, ge=0)
    seed: int = Field(0, ge=0)
    device: str = "auto"
    out: str = ""
    split: Literal["", "val", "test"] = ""
    overrides: str = ""

    @property
    def name(self) -> str:
        """The run's file name: ``R0-faces-quick-seed0``, and what departs from the row's standard."""
        changes = [f"fold{self.fold}" * bool(self.fold), self.split, *self.overrides.split()]
        return "-".join([self.row, self.dataset, self.profile, *filter(None, changes), f"seed{self.seed}"])

    @classmethod
    def of(cls, namespace: dict[str, Any], **fixed: Any) -> "Parameters":
        """From a notebook's ``globals()``: no plain scalar there may be unknown, no value unfit."""
        chosen = check_names(namespace, tuple(cls.model_fields))
        try:
            return cls(**{**chosen, **fixed})
        except ValidationError as error:
            raise _one_sentence(error, "Parameter") from error

    def recognizers(self) -> "dict[str, Parameters]":
        """The recognizers' runs that this one needs: ``start``, its own seed's, and ``judge``, the next seed's.

        Overrides of the recipe hold for them too, ``degrade`` excepted: they see clean faces; and so does the
        size of the images, where a method's budget for a profile changes it. A method names the row of each, or none.
        """
        method = find_method(self.method)
        shared = [x for x in self.overrides.split() if x.split("=")[0] in set(Recipe.model_fields) - {"degrade"}]
        size = BUDGETS.get((self.method, self.profile), {}).get("size")
        if size and not any(x.startswith("size=") for x in shared):
            shared.append(f"size={size}")
        changes = {"split": "", "overrides": " ".join(shared)}
        first = getattr(self.resolve()[1], "recognizer", method.starts_from)
        wanted = {"start": (first, self.seed), "judge": (method.judged_by, self.seed + 1)}
        return {
            part: self.model_copy(update={**changes, "method": owner(row), "row": row, "seed": seed})
            for part, (row, seed) in wanted.items()
            if row
        }

    def needs(self) -> frozenset[str]:
        """The FaceSet fields that the run needs: the method's, and ``votes`` where they are the target."""
        recipe, switches = self.resolve()
        return find_method(self.method).needs(switches) | ({"votes"} if recipe.target == "votes" else set())

    def meant(self) -> dict[str, Any]:
        """What the run's record must hold under ``parameters``: recipe, switches and overrides, as JSON keeps them."""
        recipe, switches = self.resolve()
        meant = {**recipe.model_dump(), **dataclasses.asdict(switches), "overrides": self.overrides}
        return json.loads(json.dumps(meant))

    def resolve(self) -> tuple[Recipe, Any]:
        """The recipe and the method's switches: profile, what dataset and method change of it, row, overrides."""
        method = find_method(self.method)
        if self.dataset == "faces" and self.data:
            raise FerError("The faces are drawn and need no data: leave data empty, or name the dataset that it holds.")
        if self.row not in method.ROWS:
            raise FerError(f"{self.method} has no row '{self.row}': choose one of {', '.join(method.ROWS)}.")
        changes = {**method.ROWS[self.row], **_parse(self.overrides)}
        switches = {f.name: f for f in dataclasses.fields(method.Switches)}
        for name in changes:
            if name not in switches and name not in Recipe.model_fields:
                raise FerError(_unknown(name, [*switches, *Recipe.model_fields]))
        budget = BUDGETS.get((self.method, self.profile), {})
        of_dataset = OF_DATASET.get((self.dataset, self.profile), {})
        recipe = {**PROFILES[self.profile].model_dump(), **of_dataset, **budget, **{k: v for k, v in changes.items() if k not in switches}}
        try:
            kinds = {k: type(f.default) for k, f in switches.items()}
            chosen = {k: _convert(k, v, kinds[k]) for k, v in changes.items() if k in switches}
            return Recipe(**recipe), method.Switches(**chosen)
        except ValidationError as error:
            raise _one_sentence(error, "Parameter") from error


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
        raise FerError(f"Parameter {name} cannot be '{value}': it takes a {kind.__name__}.") from error


def did_you_mean(name: str, known: list[str]) -> str:
    """The end of a sentence about an unknown name: the nearest known one, or all of them.

    Explained in: book/reruns.md
    """
    near = difflib.get_close_matches(name, known, 1)
    return f"did you mean '{near[0]}'?" if near else f"choose {', '.join(known)}."


def _unknown(name: str, known: list[str]) -> str:
    return f"There is no parameter '{name}': {did_you_mean(name, known)}"


def _one_sentence(error: ValidationError, what: str) -> FerError:
    first = error.errors()[0]
    return FerError(f"{what} {first['loc'][0]} cannot be '{first['input']}': {first['msg'][0].lower()}{first['msg'][1:]}.")
