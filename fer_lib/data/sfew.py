"""SFEW 2.0: faces from single frames of movies (Dhall et al., 2011 and 2015)."""

import os
import re

import numpy as np

from fer_lib.data.faceset import FaceSet
from fer_lib.data.layout import Layout
from fer_lib.data.listing import Listing
from fer_lib.data.pixels import COLOUR, read_pixels
from fer_lib.data.reading import check_tree, load_tree
from fer_lib.data.report import Faults, Report, fault
from fer_lib.data.square import MIDDLE, square
from fer_lib.data.tree import PICTURES, Row, Tree
from fer_lib.emotions import SFEW_FOLDERS

NAME = "sfew"
WIDTH, HEIGHT = 143, 181
FOLDERS = {"train+val": "Train_Aligned_Faces", "test": "Val_Aligned_Faces"}
_MOVIE = re.compile(r"(.+?)_\d", re.ASCII)


def load(path: str | os.PathLike, split: str) -> FaceSet:
    """One split of SFEW 2.0, the aligned faces.

    ``path`` holds ``Train/Train_Aligned_Faces/<Class>/`` and ``Val/Val_Aligned_Faces/<Class>/`` with
    the class folders Angry, Disgust, Fear, Happy, Neutral, Sad and Surprise, or is a zip of both. The
    folders may lie at any depth, and may be called ``..._new`` as in a later delivery.

    The labels of the publisher's test part are not public. As in the papers, its Val is ``test`` here,
    and ``val`` is held out of Train: about one face in ten of each class, always the same ones
    (:func:`fer_lib.data.holdout.held_out`). Where a file's name begins with a movie and a time
    (``<movie>_<time>_<number>.png``), all faces of the movie go the same way: neighbouring frames
    are near-duplicates, and one in each part would make choosing blind.

    Args:
        path: the folder or zip.
        split: ``train``, ``val`` or ``test``.

    Returns:
        RGB 143x143 faces, seven classes, memory-mapped from the cache: the middle square of the
        143x181 pictures, 19 pixels less at the top and at the bottom, not resampled.

    Raises:
        FerError: at the first fault that :func:`check` would list, also a class without faces.

    Explained in: book/data.md
    """
    return load_tree(_Sfew, path, split)


def check(path: str | os.PathLike) -> Report:
    """Look at every class folder and picture, and say what is there and what is wrong.

    Raises:
        FerError: if there is no SFEW at ``path``.

    Explained in: book/data.md
    """
    return check_tree(_Sfew, path)


class _Sfew(Tree):
    name, title = NAME, "SFEW 2.0"
    expected = "Train/Train_Aligned_Faces/<Class>/*.png and Val/Val_Aligned_Faces/<Class>/*.png"
    shape = (3, WIDTH, WIDTH)

    def __init__(self, archive):
        super().__init__(archive)
        self.folders = {source: self._folder(folder) for source, folder in FOLDERS.items()}
        if not any(self.folders.values()):
            raise self.unlike()

    def members(self, source: str) -> list[str]:
        return self.archive.below(self.folders[source]) if self.folders[source] else []

    def rows(self, source: str, faults: Faults = None) -> Listing[Row]:
        members = self.members(source)
        listing, seen = Listing(notes=self.strangers(members)), {}
        for name in (name for name in members if name.lower().endswith(PICTURES)):
            folder, file = name.rsplit("/", 2)[1:]
            if folder in SFEW_FOLDERS and seen.setdefault(file, name) != name:
                what = f"{name} in {self.archive.path} has the name of {seen[file]}, and a picture has one class"
                fault(faults, f"{what}: keep one of the two.")
            elif folder in SFEW_FOLDERS:
                movie = _MOVIE.match(file)
                listing.rows.append(Row(name, SFEW_FOLDERS[folder], movie[1] if movie else ""))
            else:
                what = f"{name} in {self.archive.path} lies in no folder of a class"
                fault(faults, f"{what}: expected {', '.join(SFEW_FOLDERS)}; move it or take it out.")
        return listing

    def read(self, data: bytes, row: Row) -> np.ndarray:
        return square(read_pixels(data, 3, (WIDTH, HEIGHT), COLOUR), WIDTH)

    def _folder(self, name: str) -> str:
        """The folder of that name, old or new, wherever it lies; "" if there is none."""
        found = re.compile(rf"((?:.*/)?{name}(?:_new)?)/[^/]+/[^/]+")
        places = sorted({match[1] for member in self.archive.members if (match := found.fullmatch(member))})
        return self.sole(places) if places else ""


LAYOUTS = (Layout(NAME, load, check, __name__, alignment=MIDDLE),)
