"""facial_expressions: faces from the web, most of known people, labelled by students (muxspace)."""

import hashlib
import os
import re
from collections import defaultdict
from contextlib import suppress

import numpy as np

from fer_lib.data.faceset import FaceSet
from fer_lib.data.folds import FOLDS
from fer_lib.data.layout import Layout
from fer_lib.data.listing import Listing
from fer_lib.data.pixels import COLOUR, read_pixels
from fer_lib.data.reading import check_tree, load_tree
from fer_lib.data.report import Faults, Report, fault
from fer_lib.data.square import MIDDLE, square
from fer_lib.data.tree import Row, Tree
from fer_lib.emotions import FACIAL_EXPRESSIONS_WORDS
from fer_lib.errors import FerError

NAME = "facial_expressions"
SIZE = 128
LIST, FOLDER = "data/legend.csv", "images"
HEADER = ["user.id", "image", "emotion"]
_NUMBER = re.compile(r"(.+?)_\d+\w?", re.ASCII)


def load(path: str | os.PathLike, split: str, fold: int = 0) -> FaceSet:
    """One split of the facial_expressions collection.

    ``path`` holds ``data/legend.csv`` (``user.id,image,emotion``) and ``images/*.jpg``, or is a zip of
    both; it may lie deeper. Pictures of any size are taken: their middle square, resized to 128x128.

    There is no official split, so people are dealt into ten folds
    (:func:`fer_lib.data.folds.person_folds`). ``user.id`` is who labelled a picture. Who is in it
    stands in the picture's name, before the number: ``Aaron_Eckhart_0001.jpg``, ``Avinash_10.jpg``;
    a name without a number counts as a person of its own. One file under two names, which are then
    two people, makes of them one person: neither is tested on what the other was trained on.

    Neutral and happiness are nine faces in ten, and there are 15 faces of fear and 8 of contempt:
    some folds test neither. Train with ``--set sampler=balanced``, and take recalls over all folds.

    Args:
        path: the folder or zip.
        split: ``train``, ``val`` or ``test``.
        fold: 0 to 9, whose people are tested.

    Returns:
        Grey 128x128 faces, eight classes, with subjects, memory-mapped from the cache.

    Raises:
        FerError: at the first fault that :func:`check` would list, also a class without faces.

    Explained in: book/data.md
    """
    return load_tree(_FacialExpressions, path, split, fold)


def check(path: str | os.PathLike) -> Report:
    """Look at the list and at every picture, and say what is there and what is wrong.

    Classes that some folds lack, one file under two names, and pictures that no row names leave
    the set usable.

    Raises:
        FerError: if there is no facial_expressions at ``path``.

    Explained in: book/data.md
    """
    return check_tree(_FacialExpressions, path)


class _FacialExpressions(Tree):
    name = title = NAME
    expected = f"{LIST} ({','.join(HEADER)}) beside {FOLDER}/*.jpg"
    shape = (1, SIZE, SIZE)
    classes = 8
    folds = FOLDS
    people = True
    sources = dict.fromkeys(("train", "val", "test"), "all")

    def __init__(self, archive):
        super().__init__(archive)
        folder = self.top(LIST)
        self.list, self.folder = folder + LIST, folder + FOLDER

    def members(self, source: str) -> list[str]:
        return [self.list, *self.archive.below(self.folder)]

    def rows(self, source: str, faults: Faults = None) -> Listing[Row]:
        rows = {}
        for line, cells in enumerate(self.archive.table(self.list), 1):
            cells = [cell.strip() for cell in cells]
            where = self.archive.where(self.list, line)
            if not any(cells) or (line == 1 and cells == HEADER):
                continue
            if len(cells) != len(HEADER):
                fault(faults, f"{where}: {len(cells)} columns, expected {','.join(HEADER)}; fetch the list again.")
            elif (word := cells[2].lower()) not in FACIAL_EXPRESSIONS_WORDS:
                known = ", ".join(FACIAL_EXPRESSIONS_WORDS)
                fault(faults, f"{where}: {cells[2]!r} is no emotion of this list ({known}); correct it.")
            elif (name := f"{self.folder}/{cells[1]}") in rows:
                fault(faults, f"{where}: {cells[1]} is listed a second time; keep one of the two rows.")
            else:
                rows[name] = Row(name, FACIAL_EXPRESSIONS_WORDS[word], _person(cells[1]))
        rows = list(rows.values())
        listing = self._without_twins(rows)
        listing.notes += self.unlisted(source, rows)
        return listing

    def read(self, data: bytes, row: Row) -> np.ndarray:
        return square(read_pixels(data, 1, modes=COLOUR), SIZE)

    def _without_twins(self, rows: list[Row]) -> Listing[Row]:
        """People who share a file become one person, by the name that comes first."""
        files, notes, one = defaultdict(list), [], {}
        for row in rows:
            # What cannot be read is reported when the pictures are decoded.
            with suppress(FerError):
                files[hashlib.sha256(self.archive.read(row.name)).digest()].append(row)
        for same in files.values():
            people = {_first(row.group, one) for row in same}
            if len(people) > 1:
                names = " and ".join(row.name for row in same)
                what = f"{names} in {self.archive.path} are the same file under names of several people"
                notes.append(f"{what}: these people count as one, in one fold; nothing need be done.")
                one |= dict.fromkeys(people, min(people))
        return Listing([row._replace(group=_first(row.group, one)) for row in rows], notes=notes)


def _first(person: str, one: dict[str, str]) -> str:
    """The name under which a person counts."""
    while one.get(person, person) != person:
        person = one[person]
    return person


def _person(image: str) -> str:
    """Who is in a picture, by its name."""
    stem = image.rpartition("/")[2].rpartition(".")[0] or image
    found = _NUMBER.fullmatch(stem)
    return (found[1] if found else stem).casefold()


LAYOUTS = (Layout(NAME, load, check, __name__, folds=FOLDS, alignment=MIDDLE),)
