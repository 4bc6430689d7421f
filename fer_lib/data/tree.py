"""``Tree``: what a loader of pictures says of its dataset, and nothing that all loaders share.

How to use it: subclass :class:`Tree`, say in ``rows`` which pictures there are (member
name, label, person), in ``read`` how one becomes pixels, and let ``load`` and ``check`` of
the module call ``load_tree`` and ``check_tree`` of :mod:`fer_lib.data.reading`.
:mod:`fer_lib.data.rafdb` is the example with an official split, :mod:`fer_lib.data.jaffe`
the one with folds of people.
"""

from abc import abstractmethod
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from fer_lib.data.archive import Archive, decode
from fer_lib.data.faceset import SPLITS
from fer_lib.data.folds import person_folds
from fer_lib.data.holdout import held_out
from fer_lib.data.listing import Listing, Opened
from fer_lib.data.report import Faults
from fer_lib.errors import FerError

PICTURES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff")


class Row(NamedTuple):
    """A face as a dataset lists it, before its picture is opened.

    Attributes:
        name: the picture, a member of the archive.
        label: index into :class:`fer_lib.emotions.Emotion`.
        group: who or what must not lie in two parts: a person, a movie; "" is unknown.
        box: left, top, width and height of the face in pixels, where a list says so.

    Explained in: book/data.md
    """

    name: str
    label: int
    group: str = ""
    box: tuple[float, ...] = ()


class Tree(Opened):
    """A dataset opened in a folder or zip; each loader has its own subclass.

    The constructor raises FerError if the archive holds another dataset.

    Attributes:
        name, title, expected, version: of :class:`fer_lib.data.listing.Opened`.
        shape: of a picture, (C, S, S).
        classes: 8, or 7 without contempt.
        folds: how many folds of people; 1 where the split is official.
        people: whether a row's group is a person.
        store: what the cache entry is filed under, where two layouts share it.
        sources: split -> the source from which it is taken.
        published: source -> how many faces the publication counts.

    Explained in: book/data.md
    """

    store = ""
    shape = (3, 0, 0)
    classes = 7
    folds = 1
    people = False
    sources: dict[str, str] = {"train": "train+val", "val": "train+val", "test": "test"}
    published: dict[str, int] = {}

    @abstractmethod
    def members(self, source: str) -> list[str]:
        """The members that decide the content of a source; none: it is not there."""

    @abstractmethod
    def rows(self, source: str, faults: Faults = None) -> Listing[Row]:
        """The faces of a source. Raises FerError at the first fault if ``faults`` is None."""

    @abstractmethod
    def read(self, data: bytes, row: Row) -> np.ndarray:
        """The pixels of a picture, uint8, of ``shape``. Raises ValueError if they do not fit."""

    def parts(self, source: str, rows: list[Row]) -> np.ndarray:
        """Which part of its source each face belongs to, int64 (N,): here fold, or 0 for held out, 1 for the rest."""
        if self.folds > 1:
            try:
                return person_folds([row.group for row in rows], self.folds)
            except FerError as error:
                raise FerError(f"{self.archive.path} ({self.title}): {error}") from error
        if source == self.sources["test"]:
            return np.zeros(len(rows), np.int64)
        return 1 - held_out([row.label for row in rows], [row.group or row.name.rpartition("/")[2] for row in rows])

    def span(self, split: str, fold: int = 0) -> tuple[int, int]:
        """First and last part of a split; folds lie in a ring, so that fold 10 is fold 0 again."""
        if self.folds > 1:
            first, length = {"test": (fold, 1), "val": (fold + 1, 1), "train": (fold + 2, self.folds - 2)}[split]
            return first % self.folds, first % self.folds + length - 1
        return {"train": (1, 1), "val": (0, 0), "test": (0, 0)}[split]

    def top(self, *inner: str) -> str:
        """The one folder (``""`` or ending in ``/``) that holds one of these files or folders.

        Raises:
            FerError: if there is none, or more than one.
        """
        return self.sole(tops(self.archive, *inner))

    def absent(self, source: str) -> str:
        """The sentence about a source that is not there."""
        splits = " and ".join(split for split in SPLITS if self.sources[split] == source)
        what = f"{self.archive.path} has no pictures or list for {splits}"
        return f"{what}: expected {self.expected}; add them, or do without {splits}."

    def images(self, rows: list[Row], faults: Faults = None) -> Iterator[np.ndarray]:
        """The pictures of these rows in chunks, uint8 (n, C, S, S)."""
        names = [row.name for row in rows]
        return decode(self.archive, names, self.shape, lambda data, i: self.read(data, rows[i]), faults, self.name)

    def unlisted(self, source: str, rows: list[Row]) -> list[str]:
        """A note about pictures that no row names."""
        listed = {row.name for row in rows}
        extra = [name for name in self.members(source) if name.lower().endswith(PICTURES) and name not in listed]
        many, are = ("pictures", "are") if len(extra) > 1 else ("picture", "is")
        what = f"{len(extra):,} {many} in {self.archive.path} {are} in no row of the list"
        return [f"{what}: label {extra[0]} and the like, or leave them unused."] if extra else []

    def strangers(self, names: list[str]) -> list[str]:
        """A note about files among the pictures that are none."""
        others = [name for name in names if not name.lower().endswith(PICTURES)]
        many, are = ("files", "are no pictures") if len(others) > 1 else ("file", "is no picture")
        what = f"{len(others):,} {many} among the pictures of {self.archive.path} {are}"
        return [f"{what}: look at {others[0]} and the like, or leave them unused."] if others else []


def tops(archive: Archive, *inner: str) -> list[str]:
    """The folders (``""``, or ending in ``/``) that hold one of the files or folders ``inner``, sorted.

    Explained in: book/data.md
    """
    found = set()
    for name in archive.members:
        for wanted in inner:
            at = f"/{name}/".find(f"/{wanted}/")
            if at >= 0:
                found.add(name[:at])
    return sorted(found)
