"""Many runs from one file: read and checked as a whole before the first of them starts.

A sweep file says rows x datasets x seeds for each method; :mod:`fer_lib.rerun` runs what it asks for.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import nbformat
import yaml
from papermill import inspect_notebook
from pydantic import BaseModel, ConfigDict, ValidationError

from fer_lib.errors import FerError
from fer_lib.methods import find_method
from fer_lib.parameters import Parameters, did_you_mean
from fer_lib.record import LIBRARY
from fer_lib.run import RUNS, load_faces

ROOT = LIBRARY.parent
SWEEPS = ROOT / "sweeps"
CHAPTERS = ROOT / "book"


class Block(BaseModel):
    """Some rows of one method, each with every seed and fold.

    Attributes:
        rows: of the method's ablation table, or ``all``.
        without: rows that ``all`` leaves out.
        seeds, folds: each row runs once with each.
        dataset, profile, split, device, overrides: as in :class:`fer_lib.parameters.Parameters`.
        data: also; relative to the repository, and ``$NAME`` is the environment variable's value.

    Explained in: book/reruns.md
    """

    model_config = ConfigDict(extra="forbid")

    rows: list[str] | Literal["all"]
    without: list[str] = []
    seeds: list[int] = [0, 1, 2]
    folds: list[int] = [0]
    dataset: str = "faces"
    data: str = ""
    profile: str = "quick"
    split: str = ""
    device: str = "auto"
    overrides: str = ""

    def runs(self, method: str, out: str) -> Iterator[Parameters]:
        """The parameters of each run, the first seed of every row first."""
        fixed = self.model_dump(exclude={"rows", "without", "seeds", "folds"}) | {"data": self._place()}
        table = find_method(method).ROWS
        if self.without and self.rows != "all":
            raise FerError("Parameter without goes with `rows: all` only: drop it, and take those rows from the list.")
        if unknown := [row for row in self.without if row not in table]:
            raise FerError(f"Parameter without cannot be '{unknown[0]}': {method} has the rows {', '.join(table)}.")
        rows = [row for row in table if row not in self.without] if self.rows == "all" else self.rows
        for seed in self.seeds:
            for fold in self.folds:
                for row in rows:
                    yield Parameters.of({}, **fixed, method=method, row=row, seed=seed, fold=fold, out=out)

    def _place(self) -> str:
        data = os.path.expandvars(self.data)
        if "$" in data:
            raise FerError(f"Parameter data cannot be '{self.data}': set this variable to the dataset's path first.")
        return str((ROOT / data).resolve()) if data else ""


def find_sweep(name: str) -> Path:
    """The file of a sweep: ``clcl`` is ``sweeps/clcl.yaml``; a path is a path.

    Raises:
        FerError: if there is none.

    Explained in: book/reruns.md
    """
    path = Path(name) if name.endswith((".yaml", ".yml")) else SWEEPS / f"{name}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in SWEEPS.glob("*.yaml")))
        raise FerError(f"There is no sweep {path}: choose one of {known}, or give the path of a YAML file.")
    return path


def read_sweep(path: Path, out: Path = RUNS) -> list[Parameters]:
    """The runs of a sweep file, each once, after a look at everything that could stop one of them.

    Checked are names and values, rows, each chapter's parameters cell, and that the data can be read and have the
    folds and all else that the rows need.

    Raises:
        FerError: one sentence for each fault, with its line, joined by line breaks.

    Explained in: book/reruns.md
    """
    try:
        text = path.read_text(encoding="utf-8")
        tree, content = yaml.compose(text), yaml.safe_load(text)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise FerError(f"{path} cannot be read as YAML: {' '.join(str(error).split())}.") from error
    if not isinstance(content, dict):
        raise FerError(f"{path} has no method: write `baseline:` and below it a list of blocks with `rows:`.")
    faults: list[str] = []
    runs: dict[tuple[str, str], Parameters] = {}
    sets: dict[tuple, tuple[Parameters, tuple]] = {}
    for method, blocks in content.items():
        try:
            find_method(str(method))
            _check_chapter(method)
        except FerError as error:
            faults.append(f"{path}, line {_line(tree, (method,))}: {error}")
            continue
        for k, block in enumerate(blocks if isinstance(blocks, list) else [blocks]):
            place = (method, k) if isinstance(blocks, list) else (method,)
            try:
                for run in Block.model_validate(block).runs(method, str(out)):
                    needs = run.needs()
                    runs[run.method, run.name] = run
                    sets.setdefault((run.dataset, run.data, run.split, run.fold, needs), (run, place))
            except ValidationError as error:
                for e in error.errors():
                    faults.append(f"{path}, line {_line(tree, (*place, *e['loc']))}: {_said(e)}")
            except FerError as error:
                faults.append(f"{path}, line {_line(tree, (*place, _guilty(str(error))))}: {error}")
    for method in {first.method for run in runs.values() for first in run.recognizers().values()} - set(content):
        try:
            _check_chapter(method)
        except FerError as error:
            faults.append(f"{path}: {error}")
    for run, place in sets.values() if not faults else ():
        if said := _unreadable(run):
            faults.append(f"{path}, line {_line(tree, (*place, _about(run, said)))}: {run.dataset}: {said}")
    if faults:
        raise FerError("\n".join(dict.fromkeys(faults)))
    return list(runs.values())


def chapter(method: str) -> Path:
    """The notebook of a method.

    Explained in: book/reruns.md
    """
    return CHAPTERS / f"{method}.ipynb"


def _check_chapter(method: str) -> None:
    """Papermill would only warn of a parameter that the chapter does not have."""
    absent = set(Parameters.model_fields) - set(inspect_notebook(str(chapter(method))))
    if absent:
        raise FerError(f"{chapter(method)} has no {', '.join(sorted(absent))} in its parameters cell: add it there.")
    cells = nbformat.read(chapter(method), as_version=4).cells
    if not any(cell.cell_type == "code" and "run" in cell.metadata.get("tags", ()) for cell in cells):
        raise FerError(f"{chapter(method)} has no code cell tagged `run`: give this tag to what a sweep executes.")


def _unreadable(run: Parameters) -> str:
    """What is wrong with a run's faces, or ""; those from disk are decoded now, once and for all."""
    recipe, _ = run.resolve()
    one = recipe.model_copy(update={"train_images": 1, "val_images": 1, "test_images": 1})
    try:
        for split in dict.fromkeys(("train", "val", run.split or "val")):
            load_faces(run, one, split, run.needs())
    except FerError as error:
        return str(error)
    return ""


def _about(run: Parameters, sentence: str) -> str:
    """The entry of a block that a sentence about its faces is about."""
    return "rows" if f" row {run.row} needs " in sentence else "folds" if run.fold and " fold" in sentence else "data"


def _said(error: dict) -> str:
    name = str(error["loc"][-1])
    if error["type"] == "extra_forbidden":
        return f"There is no '{name}' in a sweep: {did_you_mean(name, list(Block.model_fields))}"
    if error["type"] == "missing":
        return f"{name} is missing: write for example `{name}: [R0]`, or `{name}: all`."
    return f"{name} cannot be '{error['input']}': {error['msg'][0].lower()}{error['msg'][1:]}."


def _guilty(sentence: str) -> str:
    """The entry of a block that a sentence about its runs is about."""
    named = [name for name in Block.model_fields if f"Parameter {name} " in sentence]
    return named[0] if named else "rows" if " has no row " in sentence else "overrides"


def _line(node: yaml.Node, place: tuple) -> int:
    """The line of the innermost part of ``place`` that the file has."""
    line = node.start_mark.line + 1
    for part in place:
        if isinstance(node, yaml.MappingNode):
            found = [(key, value) for key, value in node.value if key.value == str(part)]
            if not found:
                return line
            line, node = found[0][0].start_mark.line + 1, found[0][1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line = node.start_mark.line + 1
    return line
