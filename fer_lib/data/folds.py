"""Folds of people, for datasets without an official split."""

import hashlib
from collections import Counter
from collections.abc import Sequence

import numpy as np

from fer_lib.errors import FerError

FOLDS = 10


def person_folds(people: Sequence[str], folds: int = FOLDS) -> np.ndarray:
    """A fold for each face, the same for all faces of a person.

    People with most faces are dealt out first (among equals in the order of the SHA-256 of
    their names), each to the fold with fewest faces so far. The order of the faces, and the
    machine, do not matter.

    Args:
        people: who is in each picture.
        folds: how many.

    Returns:
        int64 (N,), 0 to ``folds - 1``.

    Raises:
        FerError: if there are fewer people than folds.

    Explained in: book/data.md
    """
    faces = Counter(people)
    if len(faces) < folds:
        many = "1 person" if len(faces) == 1 else f"{len(faces)} people"
        raise FerError(f"{many} cannot be split into {folds} folds: complete the dataset.")
    names = sorted(faces, key=lambda name: (-faces[name], hashlib.sha256(name.encode()).digest()))
    filled, chosen = [0] * folds, {}
    for name in names:
        chosen[name] = min(range(folds), key=filled.__getitem__)
        filled[chosen[name]] += faces[name]
    return np.array([chosen[name] for name in people], np.int64)


def in_split(assigned: np.ndarray, split: str, fold: int = 0, folds: int = FOLDS) -> np.ndarray:
    """Which faces belong to a split: ``fold`` is tested, the next one validates, the rest trains.

    Args:
        assigned: from :func:`person_folds`.
        split: ``train``, ``val`` or ``test``.

    Returns:
        bool (N,).

    Explained in: book/data.md
    """
    test, val = assigned == fold, assigned == (fold + 1) % folds
    return {"train": ~(test | val), "val": val, "test": test}[split]
