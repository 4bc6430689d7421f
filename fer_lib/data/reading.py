"""From a :class:`~fer_lib.data.tree.Tree` to FaceSets and reports, alike for every dataset of pictures.

Every source of faces (a list, or the whole set where there are folds) is decoded once
into one cache entry, whose rows are sorted by part, so that every split is a run of
neighbouring rows: a memory-mapped slice, never a copy.
"""

import hashlib
import os
from collections import deque

import numpy as np
import torch

from fer_lib.data import cache
from fer_lib.data.archive import Archive
from fer_lib.data.faceset import SPLITS, FaceSet
from fer_lib.data.folds import in_split
from fer_lib.data.report import Report, fault_if_empty
from fer_lib.data.tree import Tree
from fer_lib.emotions import NAMES
from fer_lib.errors import FerError


def load_tree(kind: type[Tree], path: str | os.PathLike, split: str, fold: int = 0) -> FaceSet:
    """One split of a dataset, memory-mapped from the cache, into which the first call decodes it.

    Args:
        kind: the dataset's own tree.
        path: the folder or zip.
        split: ``train``, ``val`` or ``test``.
        fold: whose people are tested, where there are folds.

    Raises:
        FerError: at the first fault that :func:`check_tree` would list.

    Explained in: book/data.md
    """
    if split not in SPLITS:
        raise FerError(f"{kind.title} has no split {split!r}: take one of {', '.join(SPLITS)}.")
    source, where = kind.sources[split], f"{path} ({split}, fold {fold})" if kind.folds > 1 else f"{path} ({split})"
    with Archive(path) as archive:
        tree = kind(archive)
        members = tree.members(source)
        if not members:
            raise FerError(tree.absent(source))
        key = cache.key(kind.store or kind.name, kind.version, source, archive.stamp(members))
        entry = cache.fetch(key, lambda: _content(tree, source))
        first, last = tree.span(split, fold)
    start = int(np.searchsorted(entry.arrays["parts"], first))
    stop = int(np.searchsorted(entry.arrays["parts"], last, "right"))
    columns = {name: torch.from_numpy(array[start:stop]) for name, array in entry.arrays.items()}
    fingerprint = hashlib.sha256(f"{entry.fingerprint} {start} {stop}".encode()).hexdigest()[:16]
    images, labels = torch.from_numpy(entry.images[start:stop]), columns["labels"]
    faces = FaceSet(
        images, labels, kind.name, split, fingerprint, kind.classes, subjects=columns["groups"] if kind.people else None
    )
    if split == "train" or (split == "test" and kind.folds == 1) or not len(faces):
        fault_if_empty(faces.counts(), where)
    return faces


def check_tree(kind: type[Tree], path: str | os.PathLike) -> Report:
    """Look at every list and picture, and say what is there and what is wrong.

    Unlike :func:`load_tree` it stops at no fault and decodes every time. The columns of the
    report are the sources (``train+val``: the list from which val is held out) and the splits;
    where there are folds, ``all``.

    Raises:
        FerError: if the dataset is not at ``path``.

    Explained in: book/data.md
    """
    grave, notes = [], []
    rows, removed, counts = {}, {}, {}
    with Archive(path) as archive:
        tree = kind(archive)
        for source in dict.fromkeys(kind.sources.values()):
            if not tree.members(source):
                notes.append(tree.absent(source))
                continue
            try:
                listing = tree.rows(source, grave)
                labels = np.array([row.label for row in listing.rows], np.int64)
                notes += [*listing.notes, *_published(tree, source, len(labels))]
                contempt = int((labels >= kind.classes).sum())
                removed[source] = listing.removed | ({"contempt": contempt} if contempt else {})
                counts[source] = _counts(labels, kind.classes)
                rows[source] = len(labels) + sum(listing.removed.values())
                deque(tree.images(listing.rows, grave), maxlen=0)
                fault_if_empty(counts[source], f"{path} ({source})", grave)
                parts = tree.parts(source, listing.rows)
            except FerError as error:
                grave.append(str(error))
                continue
            if kind.folds > 1:
                notes += _thin(tree, labels, parts, grave)
                continue
            for split in (split for split in SPLITS if kind.sources[split] == source):
                first, last = tree.span(split)
                counts[split] = _counts(labels[(parts >= first) & (parts <= last)], kind.classes)
                rows.setdefault(split, sum(counts[split].values()))
                fault_if_empty(counts[split], f"{path} ({split})", notes if split == "val" else grave)
    faults = tuple(dict.fromkeys((*grave, *notes)))
    return Report(kind.name, str(path), rows, removed, counts, faults, bool(rows) and not grave)


def _content(tree: Tree, source: str) -> cache.Content:
    rows = tree.rows(source).rows
    labels = np.array([row.label for row in rows], np.int64)
    fault_if_empty(_counts(labels, tree.classes), f"{tree.archive.path} ({source})")
    parts = tree.parts(source, rows)
    order = np.argsort(parts, kind="stable")
    if tree.folds > 1:
        # The first folds once more behind the last: the training part of every fold is then one run.
        again = order[parts[order] < tree.folds - 3]
        order, parts = np.append(order, again), np.append(parts[order], parts[again] + tree.folds)
    else:
        parts = parts[order]
    groups = np.unique([row.group for row in rows], return_inverse=True)[1].astype(np.int64)
    arrays = {"labels": labels[order], "parts": parts, "groups": groups[order]}
    return cache.Content((len(order), *tree.shape), tree.images([rows[i] for i in order]), arrays)


def _counts(labels: np.ndarray, classes: int) -> dict[str, int]:
    return dict(zip(NAMES, np.bincount(labels, minlength=classes).tolist(), strict=False))


def _published(tree: Tree, source: str, found: int) -> list[str]:
    wanted = tree.published.get(source, found)
    what = f"{tree.archive.path} lists {found:,} faces for {source}, the publication counts {wanted:,}"
    return [f"{what}: look whether the dataset is whole."] if found != wanted else []


def _thin(tree: Tree, labels: np.ndarray, parts: np.ndarray, grave: list[str]) -> list[str]:
    """Notes on classes that some folds' people do not show; what a fold's training part lacks is grave."""
    notes, shown = [], np.unique(labels[labels < tree.classes])
    for label in shown:
        without = [str(fold) for fold in range(tree.folds) if not (labels[parts == fold] == label).any()]
        if without:
            what = f"{tree.archive.path} has no face of {NAMES[label]} in fold {', '.join(without)}"
            notes.append(f"{what}: measure {NAMES[label]} over all folds together, since these folds say nothing of it.")
    for fold in range(tree.folds):
        found = labels[in_split(parts, "train", fold, tree.folds)]
        counts = {NAMES[label]: int((found == label).sum()) for label in shown}
        fault_if_empty(counts, f"{tree.archive.path} (train, fold {fold})", grave)
    return notes
