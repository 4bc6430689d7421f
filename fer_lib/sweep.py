"""Many runs from one file: read and checked as a whole before the first of them starts.

A sweep file says rows x datasets x seeds for each method; every run becomes one papermill run of
the method's chapter, and Snakemake decides how many of them run at once, and where.
"""

import fcntl
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import nbformat
import yaml
from papermill import inspect_notebook
from pydantic import BaseModel, ConfigDict, ValidationError

from fer_lib.data import load_dataset
from fer_lib.errors import FerError
from fer_lib.methods import find_method
from fer_lib.parameters import Parameters, did_you_mean
from fer_lib.record import LIBRARY, read_record, record_path
from fer_lib.run import RUNS

ROOT = LIBRARY.parent
SWEEPS = ROOT / "sweeps"
LAST_LINES = 3


class Block(BaseModel):
    """Some rows of one method, each with every seed and fold.

    Attributes:
        rows: of the method's ablation table, or ``all``.
        seeds, folds: each row runs once with each.
        dataset, profile, split, device, overrides: as in :class:`fer_lib.parameters.Parameters`.
        data: also; relative to the repository, and ``$NAME`` is the environment variable's value.

    Explained in: book/reruns.md
    """

    model_config = ConfigDict(extra="forbid")

    rows: list[str] | Literal["all"]
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
        fixed = self.model_dump(exclude={"rows", "seeds", "folds"}) | {"data": self._place()}
        rows = list(find_method(method).ROWS) if self.rows == "all" else self.rows
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

    Checked are names and values, rows, each chapter's parameters cell, and that the data can be read.

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
    runs: dict[str, Parameters] = {}
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
                    run.resolve()
                    runs[_key(run)] = run
            except ValidationError as error:
                for e in error.errors():
                    faults.append(f"{path}, line {_line(tree, (*place, *e['loc']))}: {_said(e)}")
            except FerError as error:
                faults.append(f"{path}, line {_line(tree, (*place, _guilty(str(error))))}: {error}")
    faults += _unreadable(runs.values()) if not faults else []
    if faults:
        raise FerError("\n".join(dict.fromkeys(faults)))
    return list(runs.values())


def unfinished(run: Parameters) -> str:
    """Why a run has to be run: "" if its record is there and valid.

    A record is not valid any more when the sources that decide the result, the parameters, or the
    code of the chapter that made it have changed.

    Explained in: book/reruns.md
    """
    path = record_path(Path(run.out), run.method, run.name)
    if not path.is_file():
        return "not run yet"
    try:
        record = read_record(path)
    except FerError:
        return "its record is damaged"
    if not path.with_suffix(".safetensors").is_file():
        return "its weights are gone"
    if record.stale():
        return "fer_lib has changed"
    if record.parameters != run.meant():
        return "its parameters have changed"
    notebook = path.with_suffix(".ipynb")
    if notebook.is_file() and _code(notebook) != _code(chapter(run.method)):
        return "its chapter has changed"
    return ""


def rerun(sweep: str, out: Path = RUNS, cores: int = 1, options: tuple[str, ...] = (), log=print) -> int:
    """Run what a sweep lacks; a run that fails is tried once more and does not stop the others.

    Args:
        sweep: see :func:`find_sweep`.
        out: folder of records, executed notebooks and logs.
        cores: how many runs at once, one thread each.
        options: handed on to snakemake, for example ``--resources gpu=1`` or a profile.

    Returns:
        How many runs failed; each is named with its log's last lines.

    Raises:
        FerError: as :func:`read_sweep`, or if another rerun is at work in ``out``.

    Explained in: book/reruns.md
    """
    out = out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    with _alone(out):
        runs = read_sweep(find_sweep(sweep), out)
        wanted = {_key(run): run for run in runs if unfinished(run)}
        # What they start from comes first, whether the sweep names it or not.
        needed = {_key(first): first for run in wanted.values() for first in run.recognizers().values()}
        todo = {key: run for key, run in {**needed, **wanted}.items() if key in wanted or unfinished(run)}
        log(f"{len(runs)} runs in {sweep}: {len(runs) - len(wanted)} finished, {len(todo)} to do")
        plan = {}
        for key, run in todo.items():
            record = record_path(out, run.method, run.name)
            record.parent.mkdir(parents=True, exist_ok=True)
            if record.exists():
                # Superseded, and kept beside until somebody deletes it.
                record.replace(record.with_suffix(".json.old"))
            record.with_suffix(".yaml").write_text(yaml.safe_dump(run.model_dump(), sort_keys=False))
            plan[key] = {
                "chapter": str(chapter(run.method)),
                "after": [f"{first}.json" for first in map(_key, run.recognizers().values()) if first in todo],
                "gpu": int(run.device.startswith("cuda")),
            }
        (out / "plan.json").write_text(json.dumps(plan, indent=1))
        if plan:
            command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--directory", str(out)]
            command += ["--cores", str(cores), "--retries", "1", "--keep-going", "--nolock", "--ignore-incomplete"]
            command += ["--rerun-triggers", "params", "--quiet", "rules", "host"]
            subprocess.run([*command, *options], check=False)
        failed = [run for run in todo.values() if unfinished(run)]
        for run in failed:
            path = record_path(out, run.method, run.name).with_suffix(".log")
            lines = path.read_text(errors="replace").split("\n") if path.is_file() else ["it never started"]
            last = "\n    ".join([line.strip() for line in lines if line.strip()][-LAST_LINES:])
            log(f"FAILED {_key(run)}, log {path}:\n    {last}")
        log(f"{len(todo) - len(failed)} of {len(todo)} runs made their record")
    return len(failed)


def chapter(method: str) -> Path:
    """The notebook of a method.

    Explained in: book/reruns.md
    """
    return ROOT / "book" / f"{method}.ipynb"


def _key(run: Parameters) -> str:
    return f"{run.method}/{run.name}"


def _check_chapter(method: str) -> None:
    """Papermill would only warn of a parameter that the chapter does not have."""
    absent = set(Parameters.model_fields) - set(inspect_notebook(str(chapter(method))))
    if absent:
        raise FerError(f"{chapter(method)} has no {', '.join(sorted(absent))} in its parameters cell: add it there.")


def _unreadable(runs: Iterable[Parameters]) -> list[str]:
    """A sentence for each dataset that cannot be read; what is read is decoded once and for all."""
    faults = []
    for dataset, data, split in dict.fromkeys((r.dataset, r.data, r.split) for r in runs if r.dataset != "faces"):
        try:
            for split in dict.fromkeys(("train", "val", split or "val")):
                load_dataset(dataset, data, split)
        except FerError as error:
            faults.append(f"{dataset}: {error}")
    return faults


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


def _code(path: Path) -> list[str]:
    """The code cells of a chapter, without those that hold parameters."""
    cells = nbformat.read(path, as_version=4).cells
    tags = {"parameters", "injected-parameters"}
    return [c.source for c in cells if c.cell_type == "code" and not tags & set(c.metadata.get("tags", ()))]


@contextmanager
def _alone(out: Path) -> Iterator[None]:
    """Hold the folder; the lock goes with the process, however that ends."""
    with (out / "rerun.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise FerError(f"Another rerun is at work in {out}: wait for it, or name another folder (--out).") from error
        yield
