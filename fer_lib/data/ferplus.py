"""FERPlus: the FER2013 faces with ten annotators' votes each (Barsoum et al., 2016)."""

import os
from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from tqdm import tqdm

from fer_lib.data import cache
from fer_lib.data.archive import Archive, decode
from fer_lib.data.faceset import SPLITS, FaceSet
from fer_lib.data.report import Report, fault, fault_if_empty
from fer_lib.emotions import FERPLUS_COLUMNS, NAMES
from fer_lib.errors import FerError

NAME = "ferplus"
SIZE = 48
VERSION = 1
FOLDERS = {"train": "FER2013Train", "val": "FER2013Valid", "test": "FER2013Test"}
USAGES = {"train": "Training", "val": "PublicTest", "test": "PrivateTest"}
PIXELS, VOTES = "fer2013.csv", "fer2013new.csv"
EXPECTED = f"the folders {', '.join(FOLDERS.values())} with a label.csv each, or {PIXELS} beside {VOTES}"
CHUNK = 4096


def load(path: str | os.PathLike, split: str) -> FaceSet:
    """One split of FERPlus, from any of its three forms.

    ``path`` is (a) a folder with ``FER2013Train``, ``FER2013Valid``, ``FER2013Test``,
    each with ``fer0000000.png`` ... and a headerless ``label.csv`` (name, box or not,
    ten vote columns); (b) a folder with ``fer2013.csv`` and ``fer2013new.csv``; (c) a
    zip of either. Either may lie in one folder more. All forms give the same faces,
    in the same order, with the same fingerprint.

    The label is the emotion with most votes. Cleaning removes, one rule after the
    other, a row

    1. without image name (only in form b, where 151 rows of train and 10 of val have none),
    2. in which two or more of the ten columns share the most votes,
    3. whose winner is ``unknown`` or ``NF`` (no face).

    ======  ======  =======  ====  ======  =========  ===============================
    split   rows    no name  tied  no emo- remaining  of these, absolute majority
                                   tion               (see :func:`clear_majority`)
    ======  ======  =======  ====  ======  =========  ===============================
    train   28,558  0        1445  173     26,940     25,045
    val     3,579   0        159   24      3,396      3,191
    ======  ======  =======  ====  ======  =========  ===============================

    The vote distribution leaves out columns with a single vote, which Barsoum et al.
    take for a slip, and ``unknown`` and ``NF``; the rest is divided by its sum. Labels do
    not depend on it: with about ten votes, a winner has two at least.

    Args:
        path: the folder or zip.
        split: ``train``, ``val`` or ``test`` (PublicTest is val, PrivateTest is test).

    Returns:
        Grey 48x48 faces, eight classes, with votes; memory-mapped from the cache
        (:mod:`fer_lib.data.cache`), into which the first call decodes them.

    Raises:
        FerError: naming the file and the cure, at the first fault that :func:`check`
            would list; also if a class has no face, since nothing can be learnt or
            measured about it.

    Explained in: book/faces.ipynb
    """
    entry = _fetch(path, split)
    return FaceSet(
        images=torch.from_numpy(entry.images),
        labels=torch.from_numpy(entry.arrays["labels"]),
        votes=torch.from_numpy(entry.arrays["votes"]),
        name=NAME,
        split=split,
        fingerprint=entry.fingerprint,
    )


def clear_majority(path: str | os.PathLike, split: str) -> torch.Tensor:
    """Which faces of :func:`load` have an absolute majority: the paper's evaluation.

    Barsoum et al. evaluate on faces whose winner has more than half of the votes,
    single votes left out (mode ``majority`` of their script). Their 84.99 % stands for
    that easier subset; ``faces.subset(clear_majority(path, split))`` is it.

    Args:
        path: as for :func:`load`.
        split: as for :func:`load`.

    Returns:
        bool (N,), one for each face of ``load(path, split)``.

    Raises:
        FerError: as :func:`load`.

    Explained in: book/faces.ipynb
    """
    return torch.from_numpy(_fetch(path, split).arrays["clear"])


def check(path: str | os.PathLike) -> Report:
    """Look at every split, list and image, and say what is there and what is wrong.

    Unlike :func:`load` it stops at no fault and decodes every time. Images that no
    row names, and a split that is not there, are faults that leave the set usable.

    Raises:
        FerError: if there is no FERPlus at ``path``.

    Explained in: book/faces.ipynb
    """
    grave, notes = [], []
    rows, removed, counts = {}, {}, {}
    with Archive(path) as archive:
        form = _form(archive, grave)
        for split in SPLITS:
            if not form.members(split):
                notes.append(form.absent(split))
                continue
            listed = form.rows(split, grave)
            keep, arrays, removed[split] = _clean(listed)
            rows[split], counts[split] = len(listed), _counts(arrays["labels"])
            deque(form.images(split, [listed[i] for i in keep], grave), maxlen=0)
            fault_if_empty(counts[split], f"{path} ({split})", grave)
            notes += form.unlisted(split, listed)
    faults = tuple(dict.fromkeys((*grave, *notes)))
    return Report(NAME, str(path), rows, removed, counts, faults, bool(rows) and not grave)


class _Row(NamedTuple):
    """A row of the list: the image's name ("" is none), its ten votes, the line it stands in."""

    name: str
    votes: list[int]
    line: int


def _clean(rows: list[_Row]) -> tuple[np.ndarray, dict[str, np.ndarray], dict[str, int]]:
    """Which rows to keep; their labels, votes, absolute majorities; how many rows each rule removes."""
    emotion = np.array([e is not None for e in FERPLUS_COLUMNS.values()])
    order = np.array([e for e in FERPLUS_COLUMNS.values() if e is not None], np.int64)
    votes = np.array([row.votes for row in rows], np.int64).reshape(-1, len(emotion))  # (R, 10)
    best = votes.max(1, keepdims=True)  # (R, 1)
    named = np.array([bool(row.name) for row in rows], bool)
    tied = named & ((votes == best).sum(1) > 1)
    other = named & ~tied & ~emotion[votes.argmax(1)]
    keep = np.flatnonzero(named & ~tied & ~other)  # (N,)

    votes, best = votes[keep], best[keep]
    # A winner with one vote stays: it is all there is.
    sure = np.where((votes > 1) | (votes == best), votes, 0)
    soft = np.zeros((len(keep), len(order)), np.float32)
    soft[:, order] = sure[:, emotion] / sure[:, emotion].sum(1, keepdims=True)
    arrays = {
        "labels": order[votes[:, emotion].argmax(1)],
        "votes": soft,
        "clear": 2 * best[:, 0] > sure.sum(1),
    }
    removed = {"no image name": (~named).sum(), "tied": tied.sum(), "no emotion": other.sum()}
    return keep, arrays, {rule: int(number) for rule, number in removed.items()}


def _counts(labels: np.ndarray) -> dict[str, int]:
    return dict(zip(NAMES, np.bincount(labels, minlength=len(NAMES)).tolist(), strict=True))


def _fetch(path: str | os.PathLike, split: str) -> cache.Entry:
    if split not in SPLITS:
        raise FerError(f"FERPlus has no split {split!r}: take one of {', '.join(SPLITS)}.")
    with Archive(path) as archive:
        form = _form(archive)
        if not form.members(split):
            raise FerError(form.absent(split))
        key = cache.key(NAME, VERSION, split, archive.stamp(form.members(split)))
        return cache.fetch(key, lambda: _prepare(form, split))


def _prepare(form: "_Export | _Pair", split: str) -> cache.Content:
    rows = form.rows(split)
    keep, arrays, _ = _clean(rows)
    fault_if_empty(_counts(arrays["labels"]), f"{form.archive.path} ({split})")
    images = form.images(split, [rows[i] for i in keep])
    return cache.Content((len(keep), 1, SIZE, SIZE), images, arrays)


class _Export:
    """``FER2013Train/fer0000000.png`` ... beside a ``label.csv`` without header."""

    def __init__(self, archive: Archive, top: str):
        self.archive = archive
        self.folders = {split: top + folder for split, folder in FOLDERS.items()}

    def members(self, split: str) -> list[str]:
        return self.archive.below(self.folders[split])

    def absent(self, split: str) -> str:
        return f"{self.archive.path} has no folder {self.folders[split]}: add it, or do without the split {split}."

    def rows(self, split: str, faults: list[str] | None = None) -> list[_Row]:
        rows, name = {}, f"{self.folders[split]}/label.csv"
        if name not in self.archive:
            fault(faults, f"{self.archive.path} has no {name}: add the list that FER+'s own script writes there.")
            return []
        for line, cells in enumerate(self.archive.table(name), 1):
            where = f"{name} in {self.archive.path}, line {line}"
            if len(cells) not in (11, 12):
                fault(faults, f"{where}: {len(cells)} columns, expected name, box and ten votes; export the list again.")
            elif cells[0] in rows:
                fault(faults, f"{where}: {cells[0]} is listed a second time; keep one of the two rows.")
            elif votes := _votes(cells[-10:], where, faults):
                rows[cells[0]] = _Row(cells[0], votes, line)
        return list(rows.values())

    def images(self, split: str, rows: list[_Row], faults: list[str] | None = None) -> Iterator[np.ndarray]:
        names = [f"{self.folders[split]}/{row.name}" for row in rows]
        return decode(self.archive, names, SIZE, faults, f"{NAME} {split}")

    def unlisted(self, split: str, rows: list[_Row]) -> list[str]:
        folder, listed = self.folders[split], {"label.csv", *(row.name for row in rows)}
        extra = [name for name in self.members(split) if name.removeprefix(f"{folder}/") not in listed]
        what = f"{len(extra)} files in {folder} are in no row of its label.csv, the first is {min(extra, default=None)}"
        return [f"{what}: they stay unused unless you label them."] if extra else []


class _Pair:
    """``fer2013.csv`` (pixels) and ``fer2013new.csv`` (votes), joined row by row."""

    def __init__(self, archive: Archive, top: str, faults: list[str] | None):
        self.archive, self.top = archive, top
        self.lists = {usage: [] for usage in USAGES.values()}
        columns, table = self._open(VOTES, ("Usage", "Image name", *FERPLUS_COLUMNS))
        for line, cells in enumerate(table, 2):
            where = self._where(VOTES, line)
            if len(cells) <= max(columns):
                fault(faults, f"{where}: {len(cells)} columns, expected twelve; fetch the list again.")
                continue
            usage, name, *votes = (cells[i].strip() for i in columns)
            if usage not in self.lists:
                fault(faults, f"{where}: Usage is {usage!r}, expected {' or '.join(self.lists)}; fetch the list again.")
            elif votes := _votes(votes, where, faults):
                self.lists[usage].append(_Row(name, votes, line))

    def members(self, split: str) -> list[str]:
        return [self.top + PIXELS, self.top + VOTES] if self.lists[USAGES[split]] else []

    def absent(self, split: str) -> str:
        return f"{self.archive.path} has no rows with Usage {USAGES[split]}: add them, or do without the split {split}."

    def rows(self, split: str, faults: list[str] | None = None) -> list[_Row]:
        return self.lists[USAGES[split]]

    def images(self, split: str, rows: list[_Row], faults: list[str] | None = None) -> Iterator[np.ndarray]:
        columns, table = self._open(PIXELS, ("Usage", "pixels"))
        wanted, images = {row.line for row in rows}, []
        with tqdm(total=len(wanted), desc=f"{NAME} {split}", unit="img", disable=None) as bar:
            for line, cells in enumerate(table, 2):
                if line in wanted:
                    images.append(_pixels(cells, columns, USAGES[split], self._where(PIXELS, line), faults))
                    wanted.remove(line)
                    bar.update()
                if images and (len(images) == CHUNK or not wanted):
                    yield np.stack(images)
                    images = []
        if wanted:
            what = f"{self._where(PIXELS, min(wanted))} is missing, while {VOTES} has it"
            fault(faults, f"{what}: fetch both files again.")

    def unlisted(self, split: str, rows: list[_Row]) -> list[str]:
        return []

    def _where(self, name: str, line: int) -> str:
        return f"{self.top}{name} in {self.archive.path}, line {line}"

    def _open(self, name: str, wanted: tuple[str, ...]) -> tuple[list[int], Iterator[list[str]]]:
        table = self.archive.table(self.top + name)
        header = [cell.strip() for cell in next(table, [])]
        for column in wanted:
            if column not in header:
                where = self._where(name, 1)
                raise FerError(f"{where}: no column {column!r}; fetch the file with its header line again.")
        return [header.index(column) for column in wanted], table


def _form(archive: Archive, faults: list[str] | None = None) -> _Export | _Pair:
    folders = {name.rpartition("/")[0] for name in archive.members}
    for top in sorted({"", *(f"{folder.partition('/')[0]}/" for folder in folders)}):
        if any(top + folder in folders for folder in FOLDERS.values()):
            return _Export(archive, top)
        if top + PIXELS in archive and top + VOTES in archive:
            return _Pair(archive, top, faults)
    raise FerError(f"{archive.path} holds no FERPlus: expected {EXPECTED}.")


def _votes(cells: list[str], where: str, faults: list[str] | None) -> list[int] | None:
    wrong = [cell for cell in cells if not (cell.isascii() and cell.isdigit() and len(cell) < 5)]
    if wrong:
        fault(faults, f"{where}: {wrong[0]!r} is no number of votes; correct the row or fetch the list again.")
        return None
    return [int(cell) for cell in cells]


def _pixels(cells: list[str], columns: list[int], usage: str, where: str, faults: list[str] | None) -> np.ndarray:
    try:
        found, pixels = (cells[i].strip() for i in columns)
        if found != usage:
            raise ValueError(f"its Usage is {found!r}, {VOTES} says {usage!r}")
        return np.frombuffer(bytes(map(int, pixels.split())), np.uint8).reshape(1, SIZE, SIZE)
    except (ValueError, IndexError) as error:
        fault(faults, f"{where} is no {SIZE}x{SIZE} image ({error}): fetch both files again.")
        return np.zeros((1, SIZE, SIZE), np.uint8)
