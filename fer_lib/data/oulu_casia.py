"""Oulu-CASIA: the same acts under two cameras and three levels of light (Zhao et al., 2011)."""

import os
import re
from collections import defaultdict
from functools import partial

import numpy as np

from fer_lib.data.archive import Archive
from fer_lib.data.faceset import FaceSet
from fer_lib.data.folds import FOLDS
from fer_lib.data.layout import Layout
from fer_lib.data.listing import Listing
from fer_lib.data.pairs import check_pairs, load_pairs
from fer_lib.data.pixels import COLOUR, read_pixels
from fer_lib.data.report import Faults, Report, fault
from fer_lib.data.sequences import SIZE, Sequences, Shot
from fer_lib.data.square import MIDDLE, square
from fer_lib.emotions import OULU_FOLDERS

CAMERAS, LIGHTS = ("VL", "NI"), ("Strong", "Weak", "Dark")
PEAK = 3
PIXELS = (320, 240)
_FILE = re.compile(
    r"((?:.*/)?)(VL|NI)/(Strong|Weak|Dark)/(?P<person>P\d{3})/(?P<act>[^/]+)/(?P<frame>\d+)\.jpe?g",
    re.ASCII | re.IGNORECASE,
)


def load(
    path: str | os.PathLike, split: str, fold: int = 0, camera: str = "VL", light: str = "Strong"
) -> FaceSet:
    """One split of Oulu-CASIA under one camera and light: the last three frames of each sequence.

    ``path`` is the folder with ``OriginalImg/VL/Strong/P001/Anger/000.jpeg`` ..., or a zip of it;
    it may lie deeper. The first frame, 000, is the neutral twin of the last three. A complete
    condition has 80 people, six emotions each: 480 sequences, 1,440 faces.

    There is no official split: ten folds of the people P001 to P080, dealt out by name alone. A
    fold tests the same eight people under every camera and light, so that light levels can be compared.

    Args:
        path: the folder or zip.
        split: ``train``, ``val`` or ``test``.
        fold: 0 to 9, whose people are tested.
        camera: ``VL`` (visible light) or ``NI`` (near infrared).
        light: ``Strong``, ``Weak`` or ``Dark``.

    Returns:
        RGB 112x112 faces with subjects and neutral twins, seven classes of which neutral has no
        face: the centre square of the 320x240 picture, as delivered, since there are no landmarks.

    Raises:
        FerError: at the first fault that :func:`check` would list.

    Explained in: book/data.md
    """
    return load_pairs(_kind(camera, light), path, split, fold)


def check(path: str | os.PathLike, camera: str = "VL", light: str = "Strong") -> Report:
    """Look at every sequence of one camera and light, and say what is there and what is wrong.

    Another number of faces than the published 1,440, and a frame that is missing between
    others, leave the set usable.

    Raises:
        FerError: if there is no such part of Oulu-CASIA at ``path``.

    Explained in: book/data.md
    """
    return check_pairs(_kind(camera, light), path)


class _OuluCasia(Sequences):
    camera = light = ""
    classes = 7
    emotions = tuple(OULU_FOLDERS.values())
    everyone = tuple(f"P{number:03}" for number in range(1, 81))
    published = 1440

    def __init__(self, archive: Archive):
        super().__init__(archive)
        wanted = (self.camera.lower(), self.light.lower())
        matches = [match for name in archive.members if (match := _FILE.fullmatch(name))]
        matches = [match for match in matches if (match[2].lower(), match[3].lower()) == wanted]
        # The set is also delivered with faces cut out beforehand, in PreProcessImg; those are not read.
        original = [match for match in matches if match[1].endswith("OriginalImg/")]
        self.sole({match[1] for match in original or matches})
        self.acts: dict[tuple[str, str], dict[int, str]] = defaultdict(dict)
        for match in original or matches:
            self.acts[match["person"], match["act"]][int(match["frame"])] = match[0]

    def members(self) -> list[str]:
        return [name for frames in self.acts.values() for name in frames.values()]

    def shots(self, faults: Faults = None) -> Listing[Shot]:
        found = Listing()
        for (person, act), frames in sorted(self.acts.items()):
            folder, numbers = next(iter(frames.values())).rpartition("/")[0], sorted(frames)
            where = f"{folder} in {self.archive.path}"
            if person not in self.everyone:
                fault(faults, f"{where}: there is no person {person} (P001 to P080); give the folder its name.")
            elif act not in OULU_FOLDERS:
                what = f"{where}: {act!r} is no expression of Oulu-CASIA ({', '.join(OULU_FOLDERS)})"
                fault(faults, f"{what}; give the folder its name.")
            elif numbers[0] != 0:
                what = f"{where} begins with frame {numbers[0]}, expected the neutral frame 0"
                fault(faults, f"{what}: complete the dataset.")
            elif len(numbers) <= PEAK:
                what = f"{where} has only {len(numbers)} frame{'s' * (len(numbers) > 1)}, expected more than {PEAK}"
                fault(faults, f"{what}: complete the dataset.")
            else:
                found.rows += [Shot(frames[k], frames[0], OULU_FOLDERS[act], person) for k in numbers[-PEAK:]]
                if gaps := numbers[-1] + 1 - len(numbers):
                    what = f"{where} lacks {gaps} frame{'s' * (gaps > 1)} between others"
                    found.notes.append(f"{what}: look whether the dataset is whole.")
        return found

    def read(self, data: bytes, name: str) -> np.ndarray:
        return square(read_pixels(data, 3, PIXELS, COLOUR), SIZE)


def _kind(camera: str, light: str) -> type[_OuluCasia]:
    name = f"oulu-casia-{camera}-{light}".lower()
    expected = f"OriginalImg/{camera}/{light}/P001/Anger/000.jpeg and the like"
    about = {"name": name, "title": f"Oulu-CASIA {camera}/{light}", "expected": expected}
    return type("_OuluCasia", (_OuluCasia,), {**about, "camera": camera, "light": light})


LAYOUTS = tuple(
    Layout(
        _kind(camera, light).name,
        partial(load, camera=camera, light=light),
        partial(check, camera=camera, light=light),
        __name__,
        folds=FOLDS,
        alignment=MIDDLE,
    )
    for camera in CAMERAS
    for light in LIGHTS
)
