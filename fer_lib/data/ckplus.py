"""CK+: posed expressions from neutral to peak (Kanade et al., 2000; Lucey et al., 2010)."""

import os
import re
from collections import defaultdict

import numpy as np

from fer_lib.data.align import ALIGNMENT
from fer_lib.data.archive import Archive
from fer_lib.data.faceset import FaceSet
from fer_lib.data.folds import FOLDS
from fer_lib.data.layout import Layout
from fer_lib.data.listing import Listing
from fer_lib.data.pairs import check_pairs, load_pairs
from fer_lib.data.pixels import COLOUR, read_pixels
from fer_lib.data.report import Faults, Report, fault
from fer_lib.data.sequences import Sequences, Shot
from fer_lib.emotions import CKPLUS_LABELS, Emotion

NAME, WITH_NEUTRAL = "ckplus", "ckplus-neutral"
PEAK = 3
_FILE = re.compile(
    r"(?P<top>(?:.*/)?)(?P<kind>cohn-kanade-images|Emotion|Landmarks)/(?P<person>S\d{3})/(?P<act>\d{3})/"
    r"(?P<frame>(?P=person)_(?P=act)_\d{8})(?:\.png|_emotion\.txt|_landmarks\.txt)",
    re.ASCII,
)


def load(path: str | os.PathLike, split: str, fold: int = 0, neutral: bool = False) -> FaceSet:
    """One split of CK+: the last three frames of each labelled sequence.

    ``path`` is the folder with ``cohn-kanade-images/S005/001/S005_001_00000001.png`` ...,
    ``Emotion/S005/001/S005_001_00000011_emotion.txt`` and
    ``Landmarks/S005/001/S005_001_00000001_landmarks.txt`` (68 points), or a zip of it; each of the
    three may lie deeper, as its own archive unpacks. 327 of 593 sequences have a label and give
    981 faces; the others are left out. The first frame is the neutral twin of the last three.

    There is no official split: ten folds of people. The 48x48 export that circulates as
    "CK+48" holds the same 981 faces without saying who is who. Split at random, it shows in
    training the frame before the one that is tested: it leaks identity, and this loader refuses it.

    Args:
        path: the folder or zip.
        split: ``train``, ``val`` or ``test``.
        fold: 0 to 9, whose people are tested.
        neutral: whether the first frames are also faces of their own, labelled neutral (981 + 327);
            so under the name ``ckplus-neutral``.

    Returns:
        Grey 112x112 faces, aligned by their eyes, with subjects, landmarks (68) and neutral
        twins; eight classes, of which neutral has faces only with ``neutral``.

    Raises:
        FerError: at the first fault that :func:`check` would list.

    Explained in: book/data.md
    """
    return load_pairs(_WithNeutral if neutral else _CKPlus, path, split, fold)


def check(path: str | os.PathLike, neutral: bool = False) -> Report:
    """Look at every label, landmark and picture that is used, and say what is there and what is wrong.

    Another number than the published 981, and frames without label, leave the set usable.

    Raises:
        FerError: if there is no CK+ at ``path``.

    Explained in: book/data.md
    """
    return check_pairs(_WithNeutral if neutral else _CKPlus, path)


class _CKPlus(Sequences):
    name, title = NAME, "CK+"
    expected = (
        "cohn-kanade-images/S005/001/S005_001_00000001.png and the like, beside Emotion and Landmarks "
        "(an export of 48x48 faces does not say who is who and is not read)"
    )
    channels = 1
    emotions = tuple(emotion for emotion in Emotion if emotion != Emotion.NEUTRAL)
    points = 68
    published = 981

    def __init__(self, archive: Archive):
        super().__init__(archive)
        self.files: dict[str, dict[tuple[str, str], dict[str, str]]] = defaultdict(lambda: defaultdict(dict))
        tops = defaultdict(set)
        for name in archive.members:
            if match := _FILE.fullmatch(name):
                self.files[match["kind"]][match["person"], match["act"]][match["frame"]] = name
                tops[match["kind"]].add(match["top"])
        for kind in ("cohn-kanade-images", "Emotion"):
            self.sole(tops[kind])
        self.marks_top = f"{self.sole(tops['Landmarks'] or {''})}Landmarks"

    def members(self) -> list[str]:
        return [name for kind in self.files.values() for frames in kind.values() for name in frames.values()]

    def shots(self, faults: Faults = None) -> Listing[Shot]:
        found = Listing()
        pictures, labels = self.files["cohn-kanade-images"], self.files["Emotion"]
        found.removed["no label"] = PEAK * len(set(pictures) - set(labels))
        for (person, act), files in sorted(labels.items()):
            emotion = self._emotion(sorted(files.values()), faults)
            frames = sorted(pictures[person, act]) if (person, act) in pictures else []
            if missing := [f"{frame}.png" for frame in (f"{person}_{act}_00000001", *files) if frame not in frames]:
                fault(faults, f"{self.archive.path} has no {' and no '.join(missing)}: complete the dataset.")
                continue
            if len(frames) <= PEAK:
                what = f"{self.archive.path} has only {len(frames)} picture{'s' * (len(frames) != 1)} of {person}/{act}"
                fault(faults, f"{what}, expected more than {PEAK}: complete the dataset.")
                continue
            used = [frames[0], *frames[-PEAK:]]
            marks = [self.points_in(self._marks_of(frame, person, act), faults) for frame in used]
            if emotion is None or any(points is None for points in marks):
                continue
            names = [pictures[person, act][frame] for frame in used]
            self.marks |= dict(zip(names, marks, strict=True))
            found.rows += [Shot(name, names[0], emotion, person) for name in names[1:]]
            if Emotion.NEUTRAL in self.emotions:
                found.rows.append(Shot(names[0], names[0], Emotion.NEUTRAL, person))
        return found

    def read(self, data: bytes, name: str) -> np.ndarray:
        return self.aligned(read_pixels(data, 1, modes=COLOUR), self.marks[name])

    def _marks_of(self, frame: str, person: str, act: str) -> str:
        return self.files["Landmarks"][person, act].get(frame, f"{self.marks_top}/{person}/{act}/{frame}_landmarks.txt")

    def _emotion(self, names: list[str], faults: Faults) -> Emotion | None:
        if len(names) > 1:
            return fault(faults, f"{self.archive.path} has {' and '.join(names)}: keep the one of the last frame.")
        text = self.text(names[0]).strip()
        numbers = {str(float(number)): emotion for number, emotion in CKPLUS_LABELS.items() if number}
        try:
            return numbers[str(float(text))]
        except (ValueError, KeyError):
            what = f"{names[0]} in {self.archive.path} says {text[:20]!r}, no number of an emotion (1 to 7)"
            return fault(faults, f"{what}; fetch the file again.")


class _WithNeutral(_CKPlus):
    name = WITH_NEUTRAL
    emotions = tuple(Emotion)
    published = 981 + 327


def _load_with_neutral(path: str | os.PathLike, split: str, fold: int = 0) -> FaceSet:
    return load(path, split, fold, neutral=True)


def _check_with_neutral(path: str | os.PathLike) -> Report:
    return check(path, neutral=True)


LAYOUTS = (
    Layout(NAME, load, check, __name__, folds=FOLDS, alignment=ALIGNMENT),
    Layout(WITH_NEUTRAL, _load_with_neutral, _check_with_neutral, __name__, folds=FOLDS, alignment=ALIGNMENT),
)
