"""MMI: filmed expressions from neutral over the peak to neutral (Pantic et al., 2005)."""

import os
import re
from collections import defaultdict
from xml.etree import ElementTree

import numpy as np

from fer_lib.data.archive import Archive
from fer_lib.data.faceset import FaceSet
from fer_lib.data.folds import FOLDS
from fer_lib.data.layout import Layout
from fer_lib.data.listing import Listing
from fer_lib.data.pairs import check_pairs, load_pairs
from fer_lib.data.pixels import COLOUR, read_pixels
from fer_lib.data.report import Faults, Report, fault
from fer_lib.data.sequences import SIZE, TEXT_BYTES, Sequences, Shot
from fer_lib.data.square import MIDDLE, square
from fer_lib.emotions import MMI_LABELS

NAME = "mmi"
PEAK = 3
# Who is filmed from two sides at once, and in which half the front is; who from the side alone; who
# is upright in the picture. Everybody else lies in it and is turned clockwise.
FRONT_RIGHT, FRONT_LEFT = ("S001", "S002", "S017"), ("S003", "S005", "S006", "S015", "S016")
PROFILE, UPRIGHT = ("S021",), ("S053", "S054")
_SESSION = re.compile(r"((?:.*/)?Sessions/\d+)/(.+)", re.ASCII)
_LABEL = re.compile(r"(S\d{3})-\d+\.xml", re.ASCII)
_FRAME = re.compile(r"(?:.*\D)?(\d+)\.(?:jpe?g|png|bmp)", re.ASCII | re.IGNORECASE)


def load(path: str | os.PathLike, split: str, fold: int = 0) -> FaceSet:
    """One split of MMI: the three middle frames of each session labelled with a basic emotion.

    ``path`` is the folder with ``Sessions/224/S002-106.xml`` and that session's frames, or a zip of
    it; it may lie deeper. Frames are pictures anywhere in the session's folder, in the order of the last
    number in their names; a session that holds only its video must be exported first::

        ffmpeg -i S002-106.avi S002-106_%05d.png

    The first frame is the neutral twin. The label is the metatag ``Emotion`` of ``S002-106.xml``; a
    session with none, or one beyond 1 to 6, is left out. ``S002`` is the person. Of somebody filmed
    from two sides at once the front half is taken, whoever lies in a picture wider than high is turned
    upright, and S021, shown from the side alone, is left out.

    There is no official split, and papers choose their sessions differently: ten folds of
    people, over all sessions that remain.

    Args:
        path: the folder or zip.
        split: ``train``, ``val`` or ``test``.
        fold: 0 to 9, whose people are tested.

    Returns:
        RGB 112x112 faces with subjects and neutral twins, seven classes of which neutral has no face:
        the centre square, as delivered, since there are no landmarks.

    Raises:
        FerError: at the first fault that :func:`check` would list.

    Explained in: book/data.md
    """
    return load_pairs(_MMI, path, split, fold)


def check(path: str | os.PathLike) -> Report:
    """Look at every session's label and frames, and say what is there and what is wrong.

    Sessions that are left out are counted and leave the set usable.

    Raises:
        FerError: if there is no MMI at ``path``.

    Explained in: book/data.md
    """
    return check_pairs(_MMI, path)


class _MMI(Sequences):
    name, title = NAME, "MMI"
    expected = "Sessions/224/S002-106.xml and the like with each session's frames"
    classes = 7
    emotions = tuple(MMI_LABELS.values())

    def __init__(self, archive: Archive):
        super().__init__(archive)
        self.sessions: dict[str, list[str]] = defaultdict(list)
        self.people: dict[str, str] = {}
        for name in sorted(archive.members):
            if match := _SESSION.fullmatch(name):
                self.sessions[match[1]].append(name)
        if not any(_LABEL.fullmatch(name.rpartition("/")[2]) for names in self.sessions.values() for name in names):
            raise self.unlike()

    def members(self) -> list[str]:
        return [name for names in self.sessions.values() for name in names]

    def shots(self, faults: Faults = None) -> Listing[Shot]:
        found = Listing(removed={"no basic emotion": 0, "profile only": 0})
        for session, names in sorted(self.sessions.items()):
            labels = [name for name in names if _LABEL.fullmatch(name.rpartition("/")[2])]
            where = f"{session} in {self.archive.path}"
            if len(labels) != 1:
                said = f"{where} has {len(labels)} files like S002-106.xml, expected one"
                fault(faults, f"{said}: complete the session, or take it out.")
                continue
            person = labels[0].rpartition("/")[2][:4]
            number = self._number(labels[0], faults)
            if number is None:
                continue
            if number not in MMI_LABELS or person in PROFILE:
                found.removed["profile only" if number in MMI_LABELS else "no basic emotion"] += PEAK
                continue
            frames = [name for name in names if _FRAME.fullmatch(name.rpartition("/")[2])]
            if len(frames) <= PEAK:
                video = next((name for name in names if name.lower().endswith((".avi", ".mpg", ".mp4"))), "")
                file = video.rpartition("/")[2]
                export = f"ffmpeg -i {file} {file.rpartition('.')[0]}_%05d.png" if video else "ffmpeg from its video"
                what = f"{where} has {len(frames)} frame{'s' * (len(frames) != 1)}, expected more than {PEAK}"
                fault(faults, f"{what}: export them in its folder with {export}.")
                continue
            frames.sort(key=lambda name: (int(_FRAME.fullmatch(name.rpartition("/")[2])[1]), name))
            first = len(frames) // 2 - PEAK // 2
            found.rows += [Shot(name, frames[0], MMI_LABELS[number], person) for name in frames[first : first + PEAK]]
            self.people |= dict.fromkeys(frames, person)
        return found

    def read(self, data: bytes, name: str) -> np.ndarray:
        pixels, person = read_pixels(data, 3, modes=COLOUR), self.people[name]
        height, width = pixels.shape[1:]
        if width > height and person in FRONT_RIGHT:
            pixels = pixels[:, :, width // 2 :]
        elif width > height and person in FRONT_LEFT:
            pixels = pixels[:, :, : width // 2]
        elif width > height and person not in UPRIGHT:
            pixels = np.rot90(pixels, -1, axes=(1, 2))
        return square(pixels, SIZE)

    def _number(self, name: str, faults: Faults) -> int | None:
        """The emotion's number, 0 where there is no metatag."""
        data = self.archive.read(name, TEXT_BYTES)
        try:
            if b"<!ENTITY" in data:
                raise ValueError("it defines entities")
            tags = {tag.get("Name"): tag.get("Value", "") for tag in ElementTree.fromstring(data).iter("Metatag")}
            return int(tags.get("Emotion", 0))
        except (ElementTree.ParseError, ValueError, LookupError) as error:
            what = f"{name} in {self.archive.path} gives no emotion ({error})"
            return fault(faults, f"{what}: fetch the file again.")


LAYOUTS = (Layout(NAME, load, check, __name__, folds=FOLDS, alignment=MIDDLE),)
