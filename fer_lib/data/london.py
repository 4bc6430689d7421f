"""Face Research Lab London Set: people with a neutral and a smiling face (DeBruine & Jones, 2017)."""

import os
import re

import numpy as np
import torch

from fer_lib.data.align import ALIGNMENT, eye_centres
from fer_lib.data.archive import Archive
from fer_lib.data.faceset import FaceSet
from fer_lib.data.folds import FOLDS
from fer_lib.data.follow import SURE, follow_eyes
from fer_lib.data.layout import Layout
from fer_lib.data.listing import Listing
from fer_lib.data.pairs import check_pairs, load_pairs
from fer_lib.data.pixels import read_pixels
from fer_lib.data.report import Faults, Report, fault
from fer_lib.data.sequences import Sequences, Shot
from fer_lib.emotions import LONDON_FOLDERS

NAME = "london"
LIST = "london_info.csv"
FILES = {"neutral_front": "03", "smiling_front": "08"}
_FILE = re.compile(r"((?:.*/)?)(neutral_front|smiling_front)/(\d{3})_(03|08)\.(jpg|tem)", re.ASCII)


def load(path: str | os.PathLike, split: str, fold: int = 0) -> FaceSet:
    """One split of the London Set, two faces a person.

    ``path`` is the folder with ``neutral_front`` (``001_03.jpg`` and its 189 landmarks in
    ``001_03.tem``), ``smiling_front`` (``001_08.jpg``) and ``london_info.csv``, or a zip of it; it
    may lie deeper. Pictures of any size are taken.

    Faces are aligned by their eyes (:func:`fer_lib.data.align.align`). Where a smiling picture
    has no landmarks of its own, its eyes are found by following those of the neutral picture
    (:func:`fer_lib.data.follow.follow_eyes`); its row of ``landmarks`` is then NaN.

    There is no official split: ten folds of people.

    Args:
        path: the folder or zip.
        split: ``train``, ``val`` or ``test``.
        fold: 0 to 9, whose people are tested.

    Returns:
        RGB 112x112 faces with subjects, landmarks (189) and neutral twins; a neutral face
        is its own twin. The labels are neutral and happiness alone; ``classes`` stays 8, so
        that a network trained on eight emotions is tested as it is, and the six
        others, which nobody was asked to show, are no fault.

    Raises:
        FerError: at the first fault that :func:`check` would list, also fewer than ten people.

    Explained in: book/data.md
    """
    return load_pairs(_London, path, split, fold)


def check(path: str | os.PathLike) -> Report:
    """Look at every person's pictures and landmarks, and say what is there and what is wrong.

    A list that is missing, or a person who is not in it, leaves the set usable.

    Raises:
        FerError: if there is no London Set at ``path``.

    Explained in: book/data.md
    """
    return check_pairs(_London, path)


class _London(Sequences):
    name, title = NAME, "Face Research Lab London Set"
    expected = (
        f"the folders neutral_front (001_03.jpg, 001_03.tem ...) and smiling_front (001_08.jpg ...) beside {LIST}"
    )
    emotions = tuple(LONDON_FOLDERS.values())
    points = 189

    def __init__(self, archive: Archive):
        super().__init__(archive)
        found = [match for name in archive.members if (match := _FILE.fullmatch(name))]
        if {match[2] for match in found} != set(FILES):
            raise self.unlike()
        self.top = self.sole({match[1] for match in found})
        self.people = sorted({match[3] for match in found})
        self.before: dict[str, str] = {}

    def members(self) -> list[str]:
        folders = [name for folder in FILES for name in self.archive.below(self.top + folder)]
        return [*folders, *(name for name in [self.top + LIST] if name in self.archive)]

    def shots(self, faults: Faults = None) -> Listing[Shot]:
        found = Listing()
        for person in self._listed(found, faults):
            names = {folder: f"{self.top}{folder}/{person}_{kind}" for folder, kind in FILES.items()}
            if absent := [f"{name}.jpg" for name in names.values() if f"{name}.jpg" not in self.archive]:
                what = f"{self.archive.path} has no {' and no '.join(absent)}"
                fault(faults, f"{what}: complete the dataset, or take {person} out altogether.")
                continue
            marks = {}
            for folder, name in names.items():
                if folder == "neutral_front" or f"{name}.tem" in self.archive:
                    marks[f"{name}.jpg"] = self.points_in(f"{name}.tem", faults, header=True)
            if any(points is None for points in marks.values()):
                continue
            self.marks |= marks
            neutral = f"{names['neutral_front']}.jpg"
            for folder, name in names.items():
                self.before[f"{name}.jpg"] = neutral
                found.rows.append(Shot(f"{name}.jpg", neutral, LONDON_FOLDERS[folder], person))
        return found

    def read(self, data: bytes, name: str) -> np.ndarray:
        pixels = read_pixels(data, 3, modes=("RGB",))
        if name in self.marks:
            return self.aligned(pixels, self.marks[name])
        neutral = self.before[name]
        first = read_pixels(self.archive.read(neutral), 3, modes=("RGB",))
        if first.shape != pixels.shape:
            sizes = [f"{picture.shape[2]}x{picture.shape[1]}" for picture in (pixels, first)]
            raise ValueError(f"it is {sizes[0]} pixels, its neutral twin {sizes[1]}")
        pictures = [torch.from_numpy(picture.copy()) for picture in (first, pixels)]
        eyes, agreement = follow_eyes(pictures[0], eye_centres(self.marks[neutral])[0], pictures[1])
        if agreement < SURE:
            raise ValueError(f"the eyes of {neutral} are not found in it")
        marks = torch.full((1, 5, 2), torch.nan, dtype=torch.float64)
        marks[0, :2] = eyes
        return self.aligned(pixels, marks)

    def _listed(self, found: Listing[Shot], faults: Faults) -> list[str]:
        """The people of the list, and those who have pictures without being listed."""
        name = self.top + LIST
        if name not in self.archive:
            found.notes.append(f"{self.archive.path} has no {name}: add it to be sure that nobody is missing.")
            return self.people
        people = {}
        for line, cells in enumerate(self.archive.table(name), 1):
            if line == 1 or not cells:
                continue
            where = self.archive.where(name, line)
            if not re.fullmatch(r"\d{3}", cells[0], re.ASCII):
                fault(faults, f"{where}: {cells[0]!r} is no number of a person (001 ...); fetch the list again.")
            elif cells[0] in people:
                fault(faults, f"{where}: {cells[0]} is listed a second time; keep one of the two rows.")
            else:
                people[cells[0]] = line
        if unlisted := [person for person in self.people if person not in people]:
            many = f"{len(unlisted)} people are" if len(unlisted) > 1 else "1 person is"
            what = f"{many} not in {name} of {self.archive.path}"
            found.notes.append(f"{what}: list {unlisted[0]} and the like, or take their pictures out.")
        return sorted({*people, *self.people})


LAYOUTS = (Layout(NAME, load, check, __name__, folds=FOLDS, alignment=ALIGNMENT),)
