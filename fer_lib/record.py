"""A number is a file before it is prose: one JSON record per run, written once and whole."""

import json
import os
from collections.abc import Iterable
from pathlib import Path
from statistics import fmean as mean
from typing import Any

import pandas as pd
import torch
from pydantic import BaseModel, ConfigDict, ValidationError

from fer_lib.errors import FerError
from fer_lib.evaluate import mean_interval
from fer_lib.sources import LIBRARY, sources

SCHEMA = 1
RESULTS = LIBRARY.parent / "book" / "results"
EVALUATED = "evaluated"  # folder of what evaluate found of recorded networks: no records


class Chosen(BaseModel):
    """The epoch that validation chose, and the figures of its weights.

    Explained in: book/status.md
    """

    epoch: int
    metrics: dict[str, float]
    intervals: dict[str, tuple[float, float]]


class Record(BaseModel):
    """All that is known of one run.

    Attributes:
        method, row, dataset, profile, fold, seed: which run it is.
        split: the split that ``metrics`` were measured on.
        alignment: how the faces came to lie in the picture: ``as drawn``, or what the dataset's
            :class:`fer_lib.data.layout.Layout` says: ``as delivered``, ``middle square``, ``eyes-1`` ...
        parameters: every parameter of the run, resolved.
        fingerprint: digest of each split's faces, by split (:class:`fer_lib.data.faceset.FaceSet`).
        metrics, intervals, confusion: see :class:`fer_lib.evaluate.Scores`; of the last epoch.
            ``accuracy_clear`` and ``macro_recall_clear`` are of the faces with a clear majority.
        chosen: the same figures for the epoch that validation chose, and its number.
        labels, predicted: one digit per face, truth and last epoch's prediction, for paired tests.
        history: one dictionary per epoch.
        mechanism: the method's own figures, by name.
        cost: ``seconds`` of training, ``images_per_second``, ``peak_memory_mb``, ``parameters``.
        device, versions: what it ran on and with.
        sources: digest of the sources that decide the result (:func:`fer_lib.sources.sources`).
        commit: the repository's commit, "" outside a repository.
        confirmed: the commit up to which changed sources were shown to leave the row's figures as
            they are (``tools/confirm.py``, which then renews ``sources``), or "".
        finished: date and time (UTC, ISO 8601).

    Explained in: book/status.md
    """

    model_config = ConfigDict(extra="forbid")

    schema_version: int = SCHEMA
    method: str
    row: str
    dataset: str
    profile: str
    fold: int
    seed: int
    split: str
    alignment: str
    parameters: dict[str, Any]
    fingerprint: dict[str, str]
    metrics: dict[str, float]
    intervals: dict[str, tuple[float, float]]
    confusion: list[list[int]]
    chosen: Chosen
    labels: str
    predicted: str
    history: list[dict[str, Any]]
    mechanism: dict[str, Any] = {}
    cost: dict[str, float]
    device: str
    versions: dict[str, str]
    sources: str
    commit: str
    confirmed: str = ""
    finished: str

    def hits(self) -> torch.Tensor:
        """bool (N,): which faces the last epoch's weights name correctly."""
        return torch.tensor([a == b for a, b in zip(self.labels, self.predicted, strict=True)])

    def stale(self) -> bool:
        """Whether the sources that decide the result have changed since."""
        return self.sources != sources(self.method, self.dataset, self.parameters.get("recognizer", ""))


def record_path(out: Path, method: str, name: str) -> Path:
    """Where a run's record lies under the folder ``out``.

    Explained in: book/status.md
    """
    return out / method / f"{name}.json"


def write_record(record: Record, path: Path) -> Path:
    """Write the record to ``path``: to a temporary file first, so that it is whole or absent.

    Raises:
        FerError: if the file cannot be written, or a figure is not a number.

    Explained in: book/status.md
    """
    part = path.with_suffix(f".{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(json.dumps(record.model_dump(), indent=1, allow_nan=False) + "\n")
        os.replace(part, path)
    except ValueError as error:
        raise FerError(f"Record {path} was not written: a figure in it is not a number; lower lr and run again.") from error
    except OSError as error:
        part.unlink(missing_ok=True)
        raise FerError(f"Record {path} could not be written ({error.strerror}): free space or choose another folder.") from error
    return path


def read_record(path: Path) -> Record:
    """Read one record.

    Raises:
        FerError: if the file is missing, damaged or of another schema.

    Explained in: book/status.md
    """
    try:
        return Record.model_validate_json(Path(path).read_text())
    except FileNotFoundError as error:
        raise FerError(f"There is no record {path}: run it first.") from error
    except (ValidationError, UnicodeDecodeError) as error:
        raise FerError(f"Record {path} is damaged or of another version: delete it and run again.") from error


def read_records(folder: Path | str = RESULTS, **which: Any) -> list[Record]:
    """All records below ``folder`` whose fields equal ``which`` (``row="R0", dataset="ferplus"``), by name.

    Raises:
        FerError: if a record is damaged.

    Explained in: book/status.md
    """
    return list(find_records(folder, **which).values())


def find_records(folder: Path | str, **which: Any) -> dict[Path, Record]:
    """:func:`read_records` with each record's path.

    Explained in: book/reruns.md
    """
    found = {path: read_record(path) for path in sorted(Path(folder).rglob("*-seed*.json")) if path.parent.name != EVALUATED}
    return {path: r for path, r in found.items() if all(getattr(r, key) == value for key, value in which.items())}


def by_seed(records: Iterable[Record]) -> dict[int, list[Record]]:
    """The runs of one row by seed; of each seed its folds in order.

    Raises:
        FerError: if two are of one seed and fold (they differ by overrides, or are copies).

    Explained in: book/status.md
    """
    seeds: dict[int, dict[int, Record]] = {}
    for record in records:
        folds = seeds.setdefault(record.seed, {})
        if record.fold in folds:
            which = f"{record.method} {record.row} on {record.dataset}, seed {record.seed}, fold {record.fold}"
            raise FerError(f"Two records of {which}: compare one kind of run at a time, without other overrides or copies.")
        folds[record.fold] = record
    return {seed: [folds[fold] for fold in sorted(folds)] for seed, folds in sorted(seeds.items())}


def figure_of(record: Record, name: str) -> float | None:
    """One figure of a record, or ``None`` where it has no such figure.

    Args:
        name: of a metric (then in percent), of a mechanism figure (as recorded), or
            ``accuracy/<degradation>``: the accuracy under it, in percent.

    Explained in: book/ll_fer.ipynb
    """
    head, _, key = name.partition("/")
    if key:
        value = record.mechanism.get(head, {}).get(key)
        return None if value is None else 100 * value
    return 100 * record.metrics[head] if head in record.metrics else record.mechanism.get(head)


def seed_figures(records: Iterable[Record], row: str, name: str) -> dict[int, float]:
    """A row's figure by seed, folds of a seed counting once with their mean; seeds without the figure are left out.

    Raises:
        FerError: if a seed and fold is there twice.

    Explained in: book/ll_fer.ipynb
    """
    found = {s: [figure_of(r, name) for r in folds] for s, folds in by_seed(r for r in records if r.row == row).items()}
    return {seed: mean(values) for seed, values in found.items() if None not in values}


def differences(records: Iterable[Record], first: str, second: str, figure: str = "accuracy", over: str = "") -> dict[int, float]:
    """What row ``second`` has more than row ``first``, for each seed of which both have the figure.

    Args:
        figure: see :func:`figure_of`.
        over: another figure, to take from ``first`` in place of ``figure``.

    Raises:
        FerError: if the two rows were measured on different faces, or a seed and fold is there twice.

    Explained in: book/compare.ipynb
    """
    known = list(records)
    seen = [by_seed(r for r in known if r.row == row) for row in (first, second)]
    a, b = seed_figures(known, first, over or figure), seed_figures(known, second, figure)
    for seed in (common := [seed for seed in a if seed in b]):
        faces = [[r.fingerprint.get(r.split) for r in runs[seed]] for runs in seen]
        if faces[0] != faces[1]:
            raise FerError(f"{second} against {first}, seed {seed}: the two runs were measured on different faces.")
    return {seed: b[seed] - a[seed] for seed in common}


def summarize(records: Iterable[Record], metrics: tuple[str, ...] = ("accuracy", "macro_recall")) -> pd.DataFrame:
    """One line per (method, row, dataset, profile, split): seeds, and each metric's mean and 95 % interval in percent.

    Columns: ``seeds``, then for each metric ``<metric>``, ``<metric>_low``, ``<metric>_high``;
    the interval is Student's t over seeds (:func:`fer_lib.evaluate.mean_interval`). Folds of one
    seed count once, with their mean.

    Raises:
        FerError: if there is no record at all, or two of one seed and fold.

    Explained in: book/baseline.ipynb
    """
    columns, groups = ("method", "row", "dataset", "profile", "split"), {}
    for record in records:
        groups.setdefault(tuple(getattr(record, c) for c in columns), []).append(record)
    lines = []
    for key, members in groups.items():
        seeds = by_seed(members)
        line = dict(zip(columns, key, strict=True)) | {"seeds": len(seeds)}
        for metric in metrics:
            figures = mean_interval([100 * mean(r.metrics[metric] for r in folds) for folds in seeds.values()])
            line |= dict(zip((metric, f"{metric}_low", f"{metric}_high"), figures, strict=True))
        lines.append(line)
    if not lines:
        raise FerError("There is no record to summarize: run the rows first, or fetch book/results.")
    return pd.DataFrame(lines)
