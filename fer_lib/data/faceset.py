"""``FaceSet``: the one form in which every dataset reaches a method."""

import hashlib
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from fer_lib.emotions import NAMES
from fer_lib.errors import FerError

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class FaceSet:
    """Labelled faces of one split, in memory or memory-mapped.

    Every tensor has one row per face. What a dataset does not know is ``None``.

    Attributes:
        images: uint8 (N, C, H, W), C = 1 (grey) or 3 (sRGB), values 0-255.
        labels: int64 (N,), indices into :class:`fer_lib.emotions.Emotion`.
        name: the dataset, as ``--dataset`` spells it: ``faces``, ``ferplus`` ...
        split: ``train``, ``val`` or ``test``.
        fingerprint: hexadecimal digest: of the content for faces from disk, of the
            generator's version and arguments for procedural ones.
        classes: how many of the emotions the dataset's labels use (8, or 7 without contempt).
        votes: float32 (N, classes), the annotators' distribution; rows sum to 1.
        clear: bool (N,), whether one emotion has more than half of the votes.
        subjects: int64 (N,), the person; equal number, same person.
        landmarks: float32 (N, P, 2), (x, y) in pixels, the corner pixel's centre at (0, 0).
        neutral: uint8 (N, C, H, W), the same person without expression (the neutral twin).
        neutral_landmarks: float32 (N, P, 2), the twin's; a face that has none is NaN.
        masks: uint8 (N, 1, H, W), 255 where the expression shows (brows, eyes, nose wings, mouth).
        action_units: float32 (N, A), intensities 0-1.

    Raises:
        FerError: if the images' type or form, a tensor's length, or a label does not fit.

    Explained in: book/faces.ipynb
    """

    images: Tensor
    labels: Tensor
    name: str
    split: str
    fingerprint: str
    classes: int = len(NAMES)
    votes: Tensor | None = None
    clear: Tensor | None = None
    subjects: Tensor | None = None
    landmarks: Tensor | None = None
    neutral: Tensor | None = None
    neutral_landmarks: Tensor | None = None
    masks: Tensor | None = None
    action_units: Tensor | None = None

    def __post_init__(self):
        where = f"{self.name} ({self.split})"
        if self.split not in SPLITS:
            raise FerError(f"{where}: the split must be one of {', '.join(SPLITS)}.")
        if self.images.dtype != torch.uint8 or self.images.ndim != 4 or self.images.shape[2] != self.images.shape[3]:
            raise FerError(f"{where}: images must be square uint8 (N, C, H, W), not {self._form('images')}.")
        for name in self._rows():
            if len(getattr(self, name)) != len(self.images):
                raise FerError(f"{where}: {name} has {len(getattr(self, name))} rows for {len(self.images)} images.")
        if len(self) and not 0 <= int(self.labels.min()) <= int(self.labels.max()) < self.classes:
            raise FerError(f"{where}: labels must lie in 0-{self.classes - 1}.")

    def __len__(self) -> int:
        return len(self.images)

    def subset(self, index: Tensor) -> "FaceSet":
        """The faces at ``index`` (int64 or bool), in that order, with a fingerprint of their own."""
        index = torch.as_tensor(index)
        rows = {name: getattr(self, name)[index] for name in self._rows()}
        key = self.fingerprint + hashlib.sha256(index.numpy().tobytes()).hexdigest()
        return replace(self, **rows, fingerprint=hashlib.sha256(key.encode()).hexdigest()[:16])

    def counts(self) -> dict[str, int]:
        """Faces per class, in the order of :class:`fer_lib.emotions.Emotion`."""
        return dict(zip(NAMES, torch.bincount(self.labels, minlength=self.classes).tolist(), strict=False))

    def _rows(self) -> list[str]:
        return [f.name for f in fields(self) if isinstance(getattr(self, f.name), Tensor)]

    def _form(self, name: str) -> str:
        tensor = getattr(self, name)
        return f"{str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape)}"
