"""What datasets share that show each person with and without expression.

How to use it: subclass :class:`Sequences`, say in ``shots`` which faces there are and which
picture is the neutral twin of each, in ``read`` how a picture becomes pixels, and let the
module's ``load`` and ``check`` call :func:`load_pairs` and :func:`check_pairs`. All pictures of
a set are decoded once, into one cache entry; a fold is then a choice of rows. These sets
are small (at most 2,000 pictures), so that a split is copied into memory.
"""

import hashlib
import os
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from fer_lib.data import cache
from fer_lib.data.align import align, alignment, eye_centres, moved
from fer_lib.data.archive import Archive, decode
from fer_lib.data.faceset import SPLITS, FaceSet
from fer_lib.data.folds import FOLDS, in_split, person_folds
from fer_lib.data.report import Faults, Report, fault, fault_if_empty
from fer_lib.emotions import NAMES, Emotion
from fer_lib.errors import FerError

SIZE = 112
TEXT_BYTES = 1 << 20


class Shot(NamedTuple):
    """A face and its neutral twin.

    Attributes:
        name: the picture, a member of the archive.
        neutral: the twin's picture; of a neutral face, its own.
        label: index into :class:`fer_lib.emotions.Emotion`.
        person: who it is.

    Explained in: book/data.md
    """

    name: str
    neutral: str
    label: int
    person: str


@dataclass
class Shots:
    """The faces of a dataset before their pictures are opened.

    Attributes:
        rows: the faces that remain.
        removed: rule -> faces that it left out.
        notes: sentences about what is odd and leaves the set usable.

    Explained in: book/data.md
    """

    rows: list[Shot] = field(default_factory=list)
    removed: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


class Sequences(ABC):
    """A dataset with neutral twins, opened in a folder or zip; each loader has its own subclass.

    The constructor raises FerError if the archive holds another dataset.

    Attributes:
        name: as ``--dataset`` spells it, and ``title`` as a sentence does.
        expected: the tree, as a sentence names it.
        version: to be raised when the decoded pictures or their order change.
        channels: 1 for grey, 3 for colour.
        classes: 8, or 7 without contempt.
        emotions: those the set shows; one without a face is a fault, any other emotion is not missed.
        points: landmarks of a face, 0 for none.
        everyone: all people the set can have, where folds must not depend on who is there.
        published: how many faces the publication counts; 0 is unknown.
        marks: picture -> its landmarks in its own pixels, float64 (1, points, 2).

    Explained in: book/data.md
    """

    name = title = expected = ""
    version = 1
    channels = 3
    classes = len(NAMES)
    emotions: tuple[Emotion, ...] = ()
    points = 0
    everyone: tuple[str, ...] = ()
    published = 0

    def __init__(self, archive: Archive):
        self.archive = archive
        self.marks: dict[str, Tensor] = {}

    @abstractmethod
    def members(self) -> list[str]:
        """The members that decide the content."""

    @abstractmethod
    def shots(self, faults: Faults = None) -> Shots:
        """The faces; fills ``marks``. Raises FerError at the first fault if ``faults`` is None."""

    @abstractmethod
    def read(self, data: bytes, name: str) -> np.ndarray:
        """The pixels of a picture, uint8 (channels, SIZE, SIZE). Raises ValueError if they do not fit."""

    def unlike(self) -> FerError:
        """The error where the archive holds something else."""
        return FerError(f"{self.archive.path} holds no {self.title}: expected {self.expected}.")

    def sole(self, places: set[str]) -> str:
        """The one folder that holds the dataset. Raises FerError if there is none, or more."""
        if not places:
            raise self.unlike()
        if len(places) > 1:
            named = ", ".join(place or "the top" for place in sorted(places))
            raise FerError(f"{self.archive.path} holds {self.title} more than once ({named}): give one of them alone.")
        return min(places)

    def aligned(self, pixels: np.ndarray, marks: Tensor) -> np.ndarray:
        """The face in a picture (C, H, W), uint8 (C, SIZE, SIZE). Raises ValueError if an eye lies outside."""
        eyes, (height, width) = eye_centres(marks)[0], pixels.shape[1:]
        if (eyes < 0).any() or (eyes > torch.tensor([width - 1, height - 1])).any():
            raise ValueError(f"its landmarks put an eye outside its {width}x{height} pixels")
        return align(torch.from_numpy(pixels.copy())[None], marks, SIZE)[0][0].numpy()

    def points_in(self, name: str, faults: Faults, header: bool = False) -> Tensor | None:
        """The landmarks in a text file, float64 (1, points, 2), x and y a line.

        Args:
            header: whether the first line gives their number and other lines may follow.
        """
        if name not in self.archive:
            return fault(faults, f"{self.archive.path} has no {name}: complete the dataset.")
        lines = [line.split() for line in self.archive.read(name, TEXT_BYTES).decode("latin-1").split("\n")]
        told = lines.pop(0) if header else []
        rows = lines[: self.points] if header else [row for row in lines if row]
        if len(rows) != self.points or told not in ([], [str(self.points)]):
            number = told[0] if told[:1] not in ([], [str(self.points)]) else len(rows)
            what = f"{name} in {self.archive.path} gives {number} points, expected {self.points}"
            return fault(faults, f"{what}; fetch the file again.")
        for line, row in enumerate(rows, 1 + header):
            if len(row) != 2 or not all(map(_finite, row)):
                where = self.archive.where(name, line)
                return fault(faults, f"{where}: {' '.join(row)!r} is no point (x and y); fetch the file again.")
        marks = torch.tensor([[[float(cell) for cell in row] for row in rows]], dtype=torch.float64)
        try:
            eye_centres(marks)
        except FerError:
            what = f"{name} in {self.archive.path} puts both eyes at one place"
            return fault(faults, f"{what}: fetch the file again.")
        return marks

    def folds(self, rows: list[Shot]) -> np.ndarray:
        """The fold of each face, int64 (N,)."""
        if not self.everyone:
            return person_folds([row.person for row in rows])
        fold = dict(zip(self.everyone, person_folds(self.everyone), strict=True))
        return np.array([fold[row.person] for row in rows], np.int64)


def load_pairs(kind: type[Sequences], path: str | os.PathLike, split: str, fold: int = 0) -> FaceSet:
    """One split of a dataset with neutral twins, from the cache, into which the first call decodes it.

    Args:
        kind: the dataset's own subclass.
        path: the folder or zip.
        split: ``train``, ``val`` or ``test``.
        fold: whose people are tested.

    Raises:
        FerError: at the first fault that :func:`check_pairs` would list.

    Explained in: book/data.md
    """
    if split not in SPLITS:
        raise FerError(f"{kind.title} has no split {split!r}: take one of {', '.join(SPLITS)}.")
    with Archive(path) as archive:
        album = kind(archive)
        entry = cache.fetch(cache.key(kind.name, kind.version, archive.stamp(album.members())), lambda: _content(album))
    rows = entry.arrays
    chosen = np.flatnonzero(in_split(rows["folds"], split, fold))
    where = f"{path} ({split}, fold {fold})"
    if not len(chosen):
        raise FerError(f"{where} shows nobody: complete the dataset, or choose another fold.")
    if split == "train":
        fault_if_empty(_counts(kind, rows["labels"][chosen]), where)
    digest = hashlib.sha256(entry.fingerprint.encode() + chosen.tobytes()).hexdigest()[:16]
    return FaceSet(
        torch.from_numpy(entry.images[rows["pictures"][chosen]]),
        torch.from_numpy(rows["labels"][chosen]),
        kind.name,
        split,
        digest,
        kind.classes,
        subjects=torch.from_numpy(rows["people"][chosen]),
        landmarks=torch.from_numpy(rows["landmarks"][chosen]) if kind.points else None,
        neutral=torch.from_numpy(entry.images[rows["twins"][chosen]]),
    )


def check_pairs(kind: type[Sequences], path: str | os.PathLike) -> Report:
    """Look at every label, landmark and picture, and say what is there and what is wrong.

    Unlike :func:`load_pairs` it stops at no fault and decodes every time. A class that is
    missing where one fold is tested leaves the set usable.

    Raises:
        FerError: if the dataset is not at ``path``.

    Explained in: book/data.md
    """
    grave, notes = [], []
    rows, removed, counts = {}, {}, {}
    with Archive(path) as archive:
        album = kind(archive)
        try:
            shots = album.shots(grave)
            labels = np.array([row.label for row in shots.rows], np.int64)
            counts["all"] = dict(zip(NAMES, np.bincount(labels, minlength=kind.classes).tolist(), strict=False))
            removed["all"] = shots.removed
            rows["all"] = len(labels) + sum(shots.removed.values())
            notes += shots.notes
            deque(_images(album, _pictures(shots.rows), grave), maxlen=0)
            fault_if_empty(_counts(kind, labels), str(path), grave)
            notes += _thin(kind, str(path), labels, album.folds(shots.rows), grave)
            if kind.published not in (0, len(labels)):
                what = f"{path} has {len(labels):,} faces, the publication counts {kind.published:,}"
                notes.append(f"{what}: look whether the dataset is whole.")
        except FerError as error:
            grave.append(str(error))
    faults = tuple(dict.fromkeys((*grave, *notes)))
    return Report(kind.name, str(path), rows, removed, counts, faults, bool(rows) and not grave)


def _content(album: Sequences) -> cache.Content:
    rows = album.shots().rows
    labels = np.array([row.label for row in rows], np.int64)
    fault_if_empty(_counts(type(album), labels), str(album.archive.path))
    names = _pictures(rows)
    place = {name: i for i, name in enumerate(names)}
    people = album.everyone or sorted({row.person for row in rows})
    arrays = {
        "labels": labels,
        "folds": album.folds(rows),
        "people": np.array([people.index(row.person) for row in rows], np.int64),
        "pictures": np.array([place[row.name] for row in rows], np.int64),
        "twins": np.array([place[row.neutral] for row in rows], np.int64),
    }
    if album.points:
        unknown = torch.full((1, album.points, 2), torch.nan)
        marks = (album.marks.get(row.name) for row in rows)
        moves = [unknown if points is None else moved(points, alignment(points, SIZE)) for points in marks]
        arrays["landmarks"] = torch.cat(moves).numpy()
    return cache.Content((len(names), album.channels, SIZE, SIZE), _images(album, names), arrays)


def _pictures(rows: list[Shot]) -> list[str]:
    return list(dict.fromkeys([*(row.name for row in rows), *(row.neutral for row in rows)]))


def _images(album: Sequences, names: list[str], faults: Faults = None) -> Iterator[np.ndarray]:
    shape = (album.channels, SIZE, SIZE)
    return decode(album.archive, names, shape, lambda data, i: album.read(data, names[i]), faults, album.name)


def _counts(kind: type[Sequences], labels: np.ndarray) -> dict[str, int]:
    return {emotion.title: int((labels == emotion).sum()) for emotion in kind.emotions}


def _thin(kind: type[Sequences], path: str, labels: np.ndarray, folds: np.ndarray, grave: list[str]) -> list[str]:
    """Notes on classes that some folds' people do not show; what no training part shows is grave."""
    notes = []
    for emotion in kind.emotions:
        without = [fold for fold in range(FOLDS) if not (labels[folds == fold] == emotion).any()]
        if 0 < len(without) < FOLDS:
            what = f"No face of {emotion.title} is in fold {', '.join(map(str, without))} of {path}"
            notes.append(f"{what}: its recall is missing where that fold is tested; take the mean over all folds.")
    for fold in range(FOLDS):
        if len(labels):
            train = labels[in_split(folds, "train", fold)]
            missed = {name for name, faces in _counts(kind, labels).items() if not faces}
            shown = {name: faces for name, faces in _counts(kind, train).items() if name not in missed}
            fault_if_empty(shown, f"{path} (train, fold {fold})", grave)
    return notes


def _finite(cell: str) -> bool:
    try:
        return abs(float(cell)) < 1e5
    except ValueError:
        return False
