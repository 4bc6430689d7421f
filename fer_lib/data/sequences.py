"""``Sequences``: what a loader says of a dataset that shows each person with and without expression.

How to use it: subclass :class:`Sequences`, say in ``shots`` which faces there are and which
picture is the neutral twin of each, in ``read`` how a picture becomes pixels, and let the
module's ``load`` and ``check`` call ``load_pairs`` and ``check_pairs`` of :mod:`fer_lib.data.pairs`.
"""

from abc import abstractmethod
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from fer_lib.data.align import align, eye_centres
from fer_lib.data.archive import Archive
from fer_lib.data.folds import person_folds
from fer_lib.data.listing import Listing, Opened
from fer_lib.data.report import Faults, fault
from fer_lib.emotions import NAMES, Emotion
from fer_lib.errors import FerError

SIZE = 112
TEXT_BYTES = 1 << 20


class Shot(NamedTuple):
    """A face and its neutral twin.

    Attributes:
        name: the picture, a member of the archive.
        neutral: the twin's picture; of a neutral face, its own.
        label: index into :class:`fer_lib.emotions.Emotion`.
        person: who it is.

    Explained in: book/data.md
    """

    name: str
    neutral: str
    label: int
    person: str


class Sequences(Opened):
    """A dataset with neutral twins, opened in a folder or zip; each loader has its own subclass.

    The constructor raises FerError if the archive holds another dataset.

    Attributes:
        name, title, expected, version: of :class:`fer_lib.data.listing.Opened`.
        channels: 1 for grey, 3 for colour.
        classes: 8, or 7 without contempt.
        emotions: those the set shows; one without a face is a fault, any other emotion is not missed.
        points: landmarks of a face, 0 for none.
        everyone: all people the set can have, where folds must not depend on who is there.
        published: how many faces the publication counts; 0 is unknown.
        marks: picture -> its landmarks in its own pixels, float64 (1, points, 2).

    Explained in: book/data.md
    """

    version = 2
    channels = 3
    classes = len(NAMES)
    emotions: tuple[Emotion, ...] = ()
    points = 0
    everyone: tuple[str, ...] = ()
    published = 0

    def __init__(self, archive: Archive):
        super().__init__(archive)
        self.marks: dict[str, Tensor] = {}

    @abstractmethod
    def members(self) -> list[str]:
        """The members that decide the content."""

    @abstractmethod
    def shots(self, faults: Faults = None) -> Listing[Shot]:
        """The faces; fills ``marks``. Raises FerError at the first fault if ``faults`` is None."""

    @abstractmethod
    def read(self, data: bytes, name: str) -> np.ndarray:
        """The pixels of a picture, uint8 (channels, SIZE, SIZE). Raises ValueError if they do not fit."""

    def aligned(self, pixels: np.ndarray, marks: Tensor) -> np.ndarray:
        """The face in a picture (C, H, W), uint8 (C, SIZE, SIZE). Raises ValueError if an eye lies outside."""
        eyes, (height, width) = eye_centres(marks)[0], pixels.shape[1:]
        if (eyes < 0).any() or (eyes > torch.tensor([width - 1, height - 1])).any():
            raise ValueError(f"its landmarks put an eye outside its {width}x{height} pixels")
        return align(torch.from_numpy(pixels.copy())[None], marks, SIZE)[0][0].numpy()

    def text(self, name: str) -> str:
        """What a small text file says, whatever its bytes."""
        return self.archive.read(name, TEXT_BYTES).decode("utf-8-sig", "replace")

    def points_in(self, name: str, faults: Faults, header: bool = False) -> Tensor | None:
        """The landmarks in a text file, float64 (1, points, 2), x and y a line.

        Args:
            header: whether the first line gives their number and other lines may follow.
        """
        if name not in self.archive:
            return fault(faults, f"{self.archive.path} has no {name}: complete the dataset.")
        lines = [line.split() for line in self.text(name).split("\n")]
        told = lines.pop(0) if header else []
        rows = lines[: self.points] if header else [row for row in lines if row]
        if len(rows) != self.points or told not in ([], [str(self.points)]):
            number = told[0] if told[:1] not in ([], [str(self.points)]) else len(rows)
            what = f"{name} in {self.archive.path} gives {number} points, expected {self.points}"
            return fault(faults, f"{what}; fetch the file again.")
        for line, row in enumerate(rows, 1 + header):
            if len(row) != 2 or not all(map(_finite, row)):
                where = self.archive.where(name, line)
                return fault(faults, f"{where}: {' '.join(row)!r} is no point (x and y); fetch the file again.")
        marks = torch.tensor([[[float(cell) for cell in row] for row in rows]], dtype=torch.float64)
        try:
            eye_centres(marks)
        except FerError as error:
            return fault(faults, f"{name} in {self.archive.path} {str(error).removeprefix('Face 0 of 1 ')}")
        return marks

    def folds(self, rows: list[Shot]) -> np.ndarray:
        """The fold of each face, int64 (N,)."""
        if not self.everyone:
            try:
                return person_folds([row.person for row in rows])
            except FerError as error:
                raise FerError(f"{self.archive.path} ({self.title}): {error}") from error
        fold = dict(zip(self.everyone, person_folds(self.everyone), strict=True))
        return np.array([fold[row.person] for row in rows], np.int64)


def _finite(cell: str) -> bool:
    try:
        return abs(float(cell)) < 1e5
    except ValueError:
        return False
