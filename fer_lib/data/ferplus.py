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
from fer_lib.data.layout import Layout
from fer_lib.data.pixels import read_pixels
from fer_lib.data.report import Faults, Report, fault, fault_if_empty
from fer_lib.emotions import FERPLUS_COLUMNS, NAMES
from fer_lib.errors import FerError

NAME = "ferplus"
SIZE = 48
VERSION = 1
FOLDERS = {"train": "FER2013Train", "val": "FER2013Valid", "test": "FER2013Test"}
USAGES = {"train": "Training", "val": "PublicTest", "test": "PrivateTest"}
PIXELS, VOTES = "fer2013.csv", "fer2013new.csv"
EXPECTED = f"the folders {', '.join(FOLDERS.values())} with a label.csv each, or {PIXELS} beside {VOTES}"


def load(path: str | os.PathLike, split: str) -> FaceSet:
    """One split of FERPlus, from any of its three forms.

    ``path`` is (a) a folder with ``FER2013Train``, ``FER2013Valid``, ``FER2013Test``,
    each with ``fer0000000.png`` ... and a headerless ``label.csv`` (name, box or not,
    ten vote columns); (b) a folder with ``fer2013.csv`` and ``fer2013new.csv``; (c) a zip of
    either. It may lie one folder deeper. All forms give the same FaceSet and fingerprint.

    The label is the emotion with most votes. Cleaning removes, in this order, a row

    1. without image name (form b lists removed faces so; the exported forms leave them out),
    2. in which two or more of the ten columns share the most votes,
    3. whose winner is ``unknown`` or ``NF`` (no face).

    =====  ======  =======  =====  ==========  ======  =======================
    split  rows    no name  tied   no emotion  remain  clear majority
    =====  ======  =======  =====  ==========  ======  =======================
    train  28,558  0        1,445  173         26,940  25,045
    val    3,579   0        159    24          3,396   3,191
    =====  ======  =======  =====  ==========  ======  =======================

    ``clear`` marks the faces by which Barsoum et al.'s script evaluates, an easier subset:
    the winner has more than half of the votes, single votes left out.

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
        FerError: at the first fault that :func:`check` would list, also a class without faces.

    Explained in: book/faces.ipynb
    """
    entry = _fetch(path, split)
    labels, votes, clear = (torch.from_numpy(entry.arrays[name]) for name in ("labels", "votes", "clear"))
    return FaceSet(torch.from_numpy(entry.images), labels, NAME, split, entry.fingerprint, votes=votes, clear=clear)


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
            try:
                listed = form.rows(split, grave)
                keep, arrays, removed[split] = _clean(listed)
                rows[split], counts[split] = len(listed), _counts(arrays["labels"])
                deque(form.images(split, [listed[i] for i in keep], grave), maxlen=0)
            except FerError as error:
                grave.append(str(error))
                continue
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

        def prepare():
            rows = form.rows(split)
            keep, arrays, _ = _clean(rows)
            fault_if_empty(_counts(arrays["labels"]), f"{path} ({split})")
            images = form.images(split, [rows[i] for i in keep])
            return cache.Content((len(keep), 1, SIZE, SIZE), images, arrays)

        return cache.fetch(cache.key(NAME, VERSION, split, archive.stamp(form.members(split))), prepare)


class _Export:
    """``FER2013Train/fer0000000.png`` ... beside a ``label.csv`` without header."""

    def __init__(self, archive: Archive, top: str):
        self.archive = archive
        self.folders = {split: top + folder for split, folder in FOLDERS.items()}

    def members(self, split: str) -> list[str]:
        return self.archive.below(self.folders[split])

    def absent(self, split: str) -> str:
        return f"{self.archive.path} has no {self.folders[split]}: add it, or leave out the split {split}."

    def rows(self, split: str, faults: Faults = None) -> list[_Row]:
        rows, name = {}, f"{self.folders[split]}/label.csv"
        if name not in self.archive:
            fault(faults, f"{self.archive.path} has no {name}: add the list from the export.")
            return []
        for line, cells in enumerate(self.archive.table(name), 1):
            if not cells:
                continue
            where = self.archive.where(name, line)
            if len(cells) not in (11, 12):
                fault(faults, f"{where}: {len(cells)} columns, expected 11 or 12; fetch the list again.")
            elif cells[0] and cells[0] in rows:
                fault(faults, f"{where}: {cells[0]} is listed a second time; keep one of the two rows.")
            elif votes := _votes(cells[-10:], where, faults):
                rows[cells[0] or line] = _Row(cells[0], votes, line)
        return list(rows.values())

    def images(self, split: str, rows: list[_Row], faults: Faults = None) -> Iterator[np.ndarray]:
        names = [f"{self.folders[split]}/{row.name}" for row in rows]
        return decode(self.archive, names, (1, SIZE, SIZE), _read, faults, f"{NAME} {split}")

    def unlisted(self, split: str, rows: list[_Row]) -> list[str]:
        folder, listed = self.folders[split], {"label.csv", *(row.name for row in rows)}
        extra = [name for name in self.members(split) if name.removeprefix(f"{folder}/") not in listed]
        what = f"{len(extra)} files in {folder} are in no row of its label.csv"
        return [f"{what}: label {extra[0]} and the like, or leave them unused."] if extra else []


class _Pair:
    """``fer2013.csv`` (pixels) and ``fer2013new.csv`` (votes), joined row by row."""

    def __init__(self, archive: Archive, top: str, faults: Faults):
        self.archive, self.top = archive, top
        self.lists = {usage: [] for usage in USAGES.values()}
        columns, table = self._open(VOTES, ("Usage", "Image name", *FERPLUS_COLUMNS))
        for line, cells in enumerate(table, 2):
            where = archive.where(top + VOTES, line)
            if len(cells) <= max(columns):
                fault(faults, f"{where}: {len(cells)} columns, expected 12; fetch the list again.")
                continue
            usage, name, *votes = (cells[i].strip() for i in columns)
            if usage not in self.lists:
                fault(faults, f"{where}: Usage is {usage!r}, not one of FER2013's; fetch the list again.")
            elif votes := _votes(votes, where, faults):
                self.lists[usage].append(_Row(name, votes, line))

    def members(self, split: str) -> list[str]:
        return [self.top + PIXELS, self.top + VOTES] if self.lists[USAGES[split]] else []

    def absent(self, split: str) -> str:
        return f"{self.archive.path} has no {USAGES[split]} rows: add them, or leave out the split {split}."

    def rows(self, split: str, faults: Faults = None) -> list[_Row]:
        return self.lists[USAGES[split]]

    def images(self, split: str, rows: list[_Row], faults: Faults = None) -> Iterator[np.ndarray]:
        columns, table = self._open(PIXELS, ("Usage", "pixels"))
        wanted, images = {row.line for row in rows}, []
        with tqdm(total=len(wanted), desc=f"{NAME} {split}", unit="img", disable=None) as bar:
            for line, cells in enumerate(table, 2):
                if line in wanted:
                    where = self.archive.where(self.top + PIXELS, line)
                    images.append(_pixels(cells, columns, USAGES[split], where, faults))
                    wanted.remove(line)
                    bar.update()
                if images and (len(images) == 4096 or not wanted):
                    yield np.stack(images)
                    images = []
        if wanted:
            what = f"{self.archive.where(self.top + PIXELS, min(wanted))} is missing, while {VOTES} has it"
            fault(faults, f"{what}: fetch both files again.")

    def unlisted(self, split: str, rows: list[_Row]) -> list[str]:
        return []

    def _open(self, name: str, wanted: tuple[str, ...]) -> tuple[list[int], Iterator[list[str]]]:
        table = self.archive.table(self.top + name)
        header = [cell.strip() for cell in next(table, [])]
        for column in wanted:
            if column not in header:
                where = self.archive.where(self.top + name, 1)
                raise FerError(f"{where}: no column {column!r}; fetch the file with its header line again.")
        return [header.index(column) for column in wanted], table


def _form(archive: Archive, faults: Faults = None) -> _Export | _Pair:
    folders = {name.rpartition("/")[0] for name in archive.members}
    for top in sorted({"", *(f"{folder.partition('/')[0]}/" for folder in folders)}):
        if any(top + folder in folders for folder in FOLDERS.values()):
            return _Export(archive, top)
        if top + PIXELS in archive and top + VOTES in archive:
            return _Pair(archive, top, faults)
    raise FerError(f"{archive.path} holds no FERPlus: expected {EXPECTED}.")


def _read(data: bytes, row: int) -> np.ndarray:
    return read_pixels(data, 1, (SIZE, SIZE))


def _votes(cells: list[str], where: str, faults: Faults) -> list[int] | None:
    for cell in cells:
        if not (cell.isascii() and cell.isdigit() and len(cell) < 5):
            return fault(faults, f"{where}: {cell!r} is no number of votes; fetch the list again.")
    return [int(cell) for cell in cells]


def _pixels(cells: list[str], columns: list[int], usage: str, where: str, faults: Faults) -> np.ndarray:
    try:
        found, pixels = (cells[i].strip() for i in columns)
        if found != usage:
            raise ValueError(f"its Usage is {found!r}, {VOTES} says {usage!r}")
        return np.frombuffer(bytes(map(int, pixels.split())), np.uint8).reshape(1, SIZE, SIZE)
    except (ValueError, IndexError) as error:
        fault(faults, f"{where} is no {SIZE}x{SIZE} image ({error}): fetch both files again.")
        return np.zeros((1, SIZE, SIZE), np.uint8)


LAYOUTS = (Layout(NAME, load, check, __name__),)
