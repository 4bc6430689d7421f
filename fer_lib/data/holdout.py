"""Faces held out of training, where a dataset has no part for choosing."""

import hashlib
from collections import defaultdict

import numpy as np

from fer_lib.emotions import NAMES

ONE_IN = 10


def held_out(labels: list[int], groups: list[str], one_in: int = ONE_IN) -> np.ndarray:
    """Which faces to hold out of training for choosing: of each class about one in ``one_in``.

    Groups are taken in the order of the SHA-256 of their names, each whole and only if no class
    then exceeds its share; a class of which nothing was held out so far then gets the smallest
    group that has it. Neither the order of the faces nor the machine matters. The last group
    that shows a class is never held out.

    Args:
        labels: the classes, N of them, indices into :class:`fer_lib.emotions.Emotion`.
        groups: what must stay together (a movie's faces; a face's own name if nothing must).
        one_in: the share.

    Returns:
        int64 (N,), 1 for held out.

    Explained in: book/data.md
    """
    members, labels = defaultdict(list), np.array(labels, np.int64)
    for i, group in enumerate(groups):
        members[group].append(i)
    total = np.bincount(labels, minlength=len(NAMES))  # (K,)
    share = np.clip((total + one_in // 2) // one_in, np.minimum(1, total), np.maximum(total - 1, 0))
    held, chosen = np.zeros_like(total), np.zeros(len(labels), np.int64)

    def after(name: str) -> np.ndarray:
        return held + np.bincount(labels[members[name]], minlength=len(NAMES))

    names = sorted(members, key=lambda name: hashlib.sha256(name.encode()).digest())
    for name in names:
        if ((found := after(name)) <= share).all():
            held, chosen[members[name]] = found, 1
    for label in np.flatnonzero(share):
        if held[label]:
            continue
        having = [name for name in names if (labels[members[name]] == label).any()]
        spare = [name for name in having if (after(name) < total)[labels[members[name]]].all()]
        if spare:
            name = min(spare, key=lambda name: len(members[name]))
            held, chosen[members[name]] = after(name), 1
    return chosen
