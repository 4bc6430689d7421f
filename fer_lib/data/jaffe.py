"""JAFFE: 213 posed faces of ten Japanese women (Lyons et al., 1998)."""

import os
import re

import numpy as np

from fer_lib.data.faceset import FaceSet
from fer_lib.data.folds import FOLDS
from fer_lib.data.layout import Layout
from fer_lib.data.listing import Listing
from fer_lib.data.pixels import COLOUR, read_pixels
from fer_lib.data.reading import check_tree, load_tree
from fer_lib.data.report import Faults, Report, fault
from fer_lib.data.tree import PICTURES, Row, Tree
from fer_lib.emotions import JAFFE_CODES

NAME = "jaffe"
SIZE = 256
_FILE = re.compile(r"([A-Z]{2})\.([A-Z]{2})\d\.\d+\.tiff?", re.ASCII)


def load(path: str | os.PathLike, split: str, fold: int = 0) -> FaceSet:
    """One split of JAFFE.

    ``path`` is the flat folder of TIFF files, or a zip of it; it may lie deeper. A name says who
    and what: ``KA.AN1.39.tiff`` is the woman KA, her first angry face, the 39th picture of all.

    There is no official split. With ten women, the ten folds of people
    (:func:`fer_lib.data.folds.person_folds`) are leave-one-subject-out: in each fold one woman is
    tested, another one is for choosing, eight are for training.

    Args:
        path: the folder or zip.
        split: ``train``, ``val`` or ``test``.
        fold: 0 to 9, the woman who is tested.

    Returns:
        Grey 256x256 faces, seven classes, with subjects, memory-mapped from the cache.

    Raises:
        FerError: at the first fault that :func:`check` would list, also fewer than ten women.

    Explained in: book/data.md
    """
    return load_tree(_Jaffe, path, split, fold)


def check(path: str | os.PathLike) -> Report:
    """Look at every name and picture, and say what is there and what is wrong.

    Files that are no pictures leave the set usable, and so does another number than the published 213.

    Raises:
        FerError: if there is no JAFFE at ``path``.

    Explained in: book/data.md
    """
    return check_tree(_Jaffe, path)


class _Jaffe(Tree):
    name, title = NAME, "JAFFE"
    expected = "one folder with KA.AN1.39.tiff and the like"
    shape = (1, SIZE, SIZE)
    folds = FOLDS
    people = True
    sources = dict.fromkeys(("train", "val", "test"), "all")
    published = {"all": 213}

    def __init__(self, archive):
        super().__init__(archive)
        named = [name.rpartition("/") for name in archive.members]
        folders = {folder for folder, _, file in named if _FILE.fullmatch(file)}
        if not folders:
            raise self.unlike()
        self.folder = self.sole(sorted(folders))

    def members(self, source: str) -> list[str]:
        return [name for name in self.archive.below(self.folder) if name.rpartition("/")[0] == self.folder]

    def rows(self, source: str, faults: Faults = None) -> Listing[Row]:
        members = self.members(source)
        listing = Listing(notes=self.strangers(members))
        for name in (name for name in members if name.lower().endswith(PICTURES)):
            found = _FILE.fullmatch(name.rpartition("/")[2])
            where = f"{name} in {self.archive.path}"
            if not found:
                fault(faults, f"{where} is not named like KA.AN1.39.tiff: give it its name, or take it out.")
            elif found[2] not in JAFFE_CODES:
                what = f"{where}: {found[2]!r} is no expression of JAFFE"
                fault(faults, f"{what} ({', '.join(JAFFE_CODES)}); give the file its name, or take it out.")
            else:
                listing.rows.append(Row(name, JAFFE_CODES[found[2]], found[1]))
        return listing

    def read(self, data: bytes, row: Row) -> np.ndarray:
        return read_pixels(data, 1, (SIZE, SIZE), COLOUR)


LAYOUTS = (Layout(NAME, load, check, __name__, folds=FOLDS),)
