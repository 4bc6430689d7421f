"""From :class:`~fer_lib.data.sequences.Sequences` to FaceSets with neutral twins, and reports.

All pictures of a set are decoded once, into one cache entry; a fold is then a choice of rows.
These sets are small (about 2,000 pictures at most), so that a split is copied into memory.
"""

import hashlib
import os
from collections import deque
from collections.abc import Iterator

import numpy as np
import torch

from fer_lib.data import cache
from fer_lib.data.align import alignment, moved
from fer_lib.data.archive import Archive, decode
from fer_lib.data.faceset import SPLITS, FaceSet
from fer_lib.data.folds import FOLDS, in_split
from fer_lib.data.report import Faults, Report, fault_if_empty
from fer_lib.data.sequences import SIZE, Sequences, Shot
from fer_lib.emotions import NAMES
from fer_lib.errors import FerError


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
        neutral_landmarks=torch.from_numpy(rows["neutral_landmarks"][chosen]) if kind.points else None,
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
        arrays["landmarks"] = _landmarks(album, [row.name for row in rows])
        arrays["neutral_landmarks"] = _landmarks(album, [row.neutral for row in rows])
    return cache.Content((len(names), album.channels, SIZE, SIZE), _images(album, names), arrays)


def _landmarks(album: Sequences, names: list[str]) -> np.ndarray:
    """The pictures' landmarks in the aligned faces; NaN where none are known."""
    unknown = torch.full((1, album.points, 2), torch.nan)
    marks = map(album.marks.get, names)
    return torch.cat([unknown if x is None else moved(x, alignment(x, SIZE)) for x in marks]).numpy()


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
