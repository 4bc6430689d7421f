"""``Layout``: what the book knows of a dataset before it opens the files."""

from collections.abc import Callable
from dataclasses import dataclass

from fer_lib.data.faceset import FaceSet
from fer_lib.data.report import Report


@dataclass(frozen=True)
class Layout:
    """A dataset as it is delivered, and how to read it.

    Attributes:
        name: as ``--dataset`` spells it.
        load: ``load(path, split)``, or ``load(path, split, fold)`` where there are folds.
        check: ``check(path)``.
        module: the module that holds both, for a record's digest of sources.
        folds: how many folds of people, where the dataset has no official split; else 1.
        alignment: how faces come to lie in the picture: ``as delivered``, ``middle square``, a face box,
            or the name of the template to which ``load`` aligns.

    Explained in: book/data.md
    """

    name: str
    load: Callable[..., FaceSet]
    check: Callable[..., Report]
    module: str
    folds: int = 1
    alignment: str = "as delivered"
