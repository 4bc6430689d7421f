"""RAF-DB basic: 15,339 faces from the web, each labelled by about forty people (Li et al., 2017)."""

import os
import re

import numpy as np

from fer_lib.data.faceset import FaceSet
from fer_lib.data.layout import Layout
from fer_lib.data.listing import Listing
from fer_lib.data.pixels import read_pixels
from fer_lib.data.reading import check_tree, load_tree
from fer_lib.data.report import Faults, Report, fault
from fer_lib.data.tree import Row, Tree
from fer_lib.emotions import RAFDB_LABELS
from fer_lib.errors import FerError

NAME = "rafdb"
SIZE = 100
LIST, FOLDER = "EmoLabel/list_patition_label.txt", "Image/aligned"
COMPOUND = 11
_LINE = re.compile(r"((train|test)_\d+)\.jpg\s+(\d{1,3})", re.ASCII)


def load(path: str | os.PathLike, split: str) -> FaceSet:
    """One split of RAF-DB basic, the aligned pictures.

    ``path`` holds ``EmoLabel/list_patition_label.txt`` (lines like ``train_00001.jpg 5``; the
    spelling is the publisher's) and ``Image/aligned/train_00001_aligned.jpg`` ..., or is a zip of
    both; it may lie deeper.

    The publisher's test part is ``test``. There is none for choosing: :func:`fer_lib.data.holdout.held_out`
    takes one face in ten of each class out of the training part as ``val``, always the same ones.

    =====  =======  =========  ========  =======  =====  =======  ====  ======
    list   neutral  happiness  surprise  sadness  anger  disgust  fear  all
    =====  =======  =========  ========  =======  =====  =======  ====  ======
    train  2,524    4,772      1,290     1,982    705    717      281   12,271
    test   680      1,185      329       478      162    160      74    3,068
    =====  =======  =========  ========  =======  =====  =======  ====  ======

    Both lists are sorted by class to a large part: neutral is the last block of both, and of 64
    neighbours in the test list about two in three are of one class. A network whose answer for a
    face depends on its batch (a mean over the batch at test time) reads the class off the
    neighbours, and its accuracy is no measurement.

    Args:
        path: the folder or zip.
        split: ``train``, ``val`` or ``test``.

    Returns:
        RGB 100x100 faces, seven classes, memory-mapped from the cache.

    Raises:
        FerError: at the first fault that :func:`check` would list, also a class without faces.

    Explained in: book/data.md
    """
    return load_tree(_RafDb, path, split)


def check(path: str | os.PathLike) -> Report:
    """Look at the list and at every picture, and say what is there and what is wrong.

    Counts that differ from the published ones, and pictures that no line names, leave the set usable.

    Raises:
        FerError: if there is no RAF-DB at ``path``.

    Explained in: book/data.md
    """
    return check_tree(_RafDb, path)


class _RafDb(Tree):
    name, title = NAME, "RAF-DB basic"
    expected = f"{LIST} beside {FOLDER}/train_00001_aligned.jpg and the like"
    shape = (3, SIZE, SIZE)
    published = {"train+val": 12_271, "test": 3_068}

    def __init__(self, archive):
        super().__init__(archive)
        folder = self.top(LIST)
        self.list, self.folder = folder + LIST, folder + FOLDER

    def members(self, source: str) -> list[str]:
        start = f"{self.folder}/{_prefix(source)}_"
        return [self.list, *(name for name in self.archive.below(self.folder) if name.startswith(start))]

    def rows(self, source: str, faults: Faults = None) -> Listing[Row]:
        listing, seen = Listing(), set()
        for line, cells in enumerate(self.archive.table(self.list), 1):
            text, where = ",".join(cells).strip(), self.archive.where(self.list, line)
            found = _LINE.fullmatch(text)
            if not text:
                continue
            if not found:
                fault(faults, f"{where}: {text[:40]!r} is not like 'train_00001.jpg 5'; fetch the list again.")
            elif max(RAFDB_LABELS) < int(found[3]) <= COMPOUND:
                what = f"{where}: label {found[3]} is of RAF-DB's compound set, whose labels go to {COMPOUND}"
                raise FerError(f"{what}; give the folder of the basic set.")
            elif int(found[3]) not in RAFDB_LABELS:
                fault(faults, f"{where}: label {found[3]} is none of 1 to 7; fetch the list again.")
            elif found[1] in seen:
                fault(faults, f"{where}: {found[1]}.jpg is listed a second time; keep one of the two lines.")
            elif found[2] == _prefix(source):
                listing.rows.append(Row(f"{self.folder}/{found[1]}_aligned.jpg", RAFDB_LABELS[int(found[3])]))
            if found:
                seen.add(found[1])
        listing.notes = self.unlisted(source, listing.rows)
        return listing

    def read(self, data: bytes, row: Row) -> np.ndarray:
        return read_pixels(data, 3, (SIZE, SIZE), ("RGB",))


def _prefix(source: str) -> str:
    return "test" if source == "test" else "train"


LAYOUTS = (Layout(NAME, load, check, __name__),)
