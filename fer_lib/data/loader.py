"""From a ``FaceSet`` to batches on the device: one gather, one warp, no loop over images."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from fer_lib.data.degradation import Chain, Degradation
from fer_lib.data.faceset import FaceSet
from fer_lib.data.landmarks import MIRROR
from fer_lib.errors import FerError
from fer_lib.parallel import own_part

SAMPLERS = ("listed", "shuffled", "balanced")
TARGETS = ("hard", "smooth", "votes")


@dataclass
class Batch:
    """Some faces on the device, ready for a method.

    Attributes:
        image: float32 (B, C, H, W) in [0, 1]; what a method sees. At low resolution it is smaller
            than all else in the batch.
        label: int64 (B,).
        index: int64 (B,), the faces' rows in their FaceSet: what per-image noise is keyed on.
        target: what an emotion's cross-entropy is taken against: the label, int64 (B,), unless the loader was
            asked for a distribution, float32 (B, K) with rows that sum to 1.
        neutral: float32 (B, C, H, W), the neutral twins, or ``None``.
        neutral_landmarks: float32 (B, P, 2), the twins', or ``None``.
        mask: float32 (B, 1, H, W) in [0, 1], where the expression shows, or ``None``.
        landmarks: float32 (B, P, 2) in pixels of the clean image, or ``None``.
        clean: float32 (B, C, H, W), the image before its degradation, or ``None`` without one.

    Explained in: book/baseline.ipynb
    """

    image: Tensor
    label: Tensor
    index: Tensor
    target: Tensor | None = None
    neutral: Tensor | None = None
    neutral_landmarks: Tensor | None = None
    mask: Tensor | None = None
    landmarks: Tensor | None = None
    clean: Tensor | None = None

    def __post_init__(self):
        if self.target is None:
            self.target = self.label


@dataclass(frozen=True)
class Augmentation:
    """How far training images may be changed; every face draws its own amounts, uniformly.

    Attributes:
        flip: probability of a mirror image.
        rotate: largest rotation, degrees.
        scale: largest change of size, as a share (0.08: 92 % to 108 %).
        shift: largest displacement, as a share of the width.
        erase: probability that a rectangle is painted over.
        erase_side: shortest and longest side of that rectangle, as a share of the image's.
        light: largest change of contrast, as a share; of brightness, half of that.

    Explained in: book/baseline.ipynb
    """

    flip: float = 0.5
    rotate: float = 8.0
    scale: float = 0.08
    shift: float = 0.05
    erase: float = 0.3
    erase_side: tuple[float, float] = (0.1, 0.35)
    light: float = 0.2

    def scaled(self, strength: float) -> "Augmentation":
        """The same with every amount times ``strength`` (0: mirror images alone stay)."""
        return Augmentation(
            flip=self.flip,
            rotate=self.rotate * strength,
            scale=self.scale * strength,
            shift=self.shift * strength,
            erase=min(self.erase * strength, 1.0),
            erase_side=self.erase_side,
            light=self.light * strength,
        )


class Loader:
    """Batches of a FaceSet, as listed, shuffled or balanced, augmented or not.

    On a GPU the images are moved there once, as bytes; on the CPU a memory-mapped
    set stays on disk and is gathered batch by batch. All randomness comes from
    ``(seed, epoch)`` and is drawn on the CPU: the same batches on any device. Where batches are
    split over processes (:func:`fer_lib.parallel.split_batches`), each gives its slice of the same ones.

    Args:
        faces: what to load.
        batch_size: faces per batch; the last batch may be smaller.
        device: where the batches go.
        size: side of the images in pixels; 0 keeps theirs.
        augment: amounts of augmentation, or ``None`` for none.
        sampler: ``listed``: every face once, in the set's order. ``shuffled``: a new order
            every epoch, whole batches only. ``balanced``: as many draws as faces, each first
            of a class that occurs, then of a face of it, so that a rare class is seen as often as
            a common one (and its faces again and again); whole batches only.
        seed: of order and augmentation.
        degrade: what spoils the images after their augmentation, or ``None``. Its noise is new in
            every epoch; of faces as listed it is always the same, for every method alike.
        target: what ``Batch.target`` is: ``hard`` the label, ``smooth`` the label smoothed (:func:`smooth`), ``votes`` the annotators' votes.
        smoothing: the ε of ``smooth``.

    Raises:
        FerError: if the sampler or the target is unknown, if there are no votes to be the target, or if the faces are
            to be mirrored and have landmarks of an unknown scheme.

    Explained in: book/baseline.ipynb
    """

    def __init__(
        self,
        faces: FaceSet,
        batch_size: int,
        device: torch.device | str = "cpu",
        size: int = 0,
        augment: Augmentation | None = None,
        sampler: str = "listed",
        seed: int = 0,
        degrade: Degradation | Chain | None = None,
        target: str = "hard",
        smoothing: float = 0.1,
    ):
        self.batch_size, self.device, self.augment = batch_size, torch.device(device), augment
        for what, value, known in (("sampler", sampler, SAMPLERS), ("target", target, TARGETS)):
            if value not in known:
                raise FerError(f"There is no {what} '{value}': choose one of {', '.join(known)}.")
        if target == "votes" and faces.votes is None:
            raise FerError(f"{faces.name} has no votes: choose target=hard or target=smooth.")
        self.sampler, self.seed, self.degrade, self.target, self.smoothing = sampler, seed, degrade, target, smoothing
        self.size = size or faces.images.shape[-1]
        self.faces = faces
        points = 68 if faces.landmarks is None else faces.landmarks.shape[1]
        if augment and augment.flip and points not in MIRROR:
            raise FerError(f"{faces.name}: {points} landmarks cannot be mirrored: train with flip=0.")
        on_device = self.device.type != "cpu"
        self.rows = {
            name: getattr(faces, name).to(self.device) if on_device else getattr(faces, name)
            for name in ("images", "labels", "votes", "neutral", "masks", "landmarks", "neutral_landmarks")
            if getattr(faces, name) is not None
        }

    def __len__(self) -> int:
        whole, rest = divmod(len(self.faces), self.batch_size)
        return whole + bool(rest) if self.sampler == "listed" else max(whole, 1)

    def epoch(self, number: int = 0) -> Iterator[Batch]:
        """The batches of one pass over the set; the same number, the same batches."""
        pass_seed = self.seed * 100_003 + number
        generator = torch.Generator().manual_seed(pass_seed)
        order = self._order(generator)
        for step in range(len(self)):
            index = order[step * self.batch_size : (step + 1) * self.batch_size]
            own = own_part(len(index))
            batch = self._gather(index[own])
            if self.augment:
                draws = torch.rand(len(index), 12, generator=generator)[own].to(self.device)
                batch = augment_batch(batch, self.augment, draws)
            if self.degrade:
                batch.clean = batch.image
                batch.image = self.degrade(batch.clean, batch.index, 0 if self.sampler == "listed" else pass_seed + 1)
            yield batch

    def _order(self, generator: torch.Generator) -> Tensor:
        labels = self.faces.labels
        if self.sampler == "listed":
            return torch.arange(len(labels))
        if self.sampler == "shuffled":
            return torch.randperm(len(labels), generator=generator)
        chances = 1 / torch.bincount(labels).double()[labels]
        return torch.multinomial(chances, len(labels), replacement=True, generator=generator)

    def _gather(self, index: Tensor) -> Batch:
        where = index.to(self.device)
        rows = {name: tensor[where] for name, tensor in self.rows.items()}
        return Batch(
            image=self._pixels(rows["images"]),
            label=rows["labels"],
            index=where,
            target=self._target(rows),
            neutral=self._pixels(rows.get("neutral")),
            neutral_landmarks=self._points(rows.get("neutral_landmarks")),
            mask=self._pixels(rows.get("masks")),
            landmarks=self._points(rows.get("landmarks")),
        )

    def _target(self, rows: dict[str, Tensor]) -> Tensor:
        if self.target == "smooth":
            return smooth(rows["labels"], self.faces.classes, self.smoothing)
        return rows["votes" if self.target == "votes" else "labels"]

    def _pixels(self, tensor: Tensor | None) -> Tensor | None:
        if tensor is None:
            return None
        x = tensor.float() / 255  # (B, C, H, W)
        if x.shape[-1] != self.size or x.shape[-2] != self.size:
            x = F.interpolate(x, (self.size, self.size), mode="bicubic", antialias=True).clamp(0, 1)
        return x

    def _points(self, landmarks: Tensor | None) -> Tensor | None:
        if landmarks is None:
            return None
        return (landmarks + 0.5) * (self.size / self.faces.images.shape[-1]) - 0.5


def smooth(label: Tensor, classes: int, amount: float) -> Tensor:
    r"""Label smoothing [szegedy2016rethinking]: :math:`q_k = (1-\varepsilon)\,[k=y] + \varepsilon/K`.

    Shapes:
        label int64 (B,), ``amount`` the ε in [0, 1) -> (B, K).

    Explained in: book/baseline.ipynb
    """
    return F.one_hot(label, classes).float() * (1 - amount) + amount / classes


def augment_batch(batch: Batch, amounts: Augmentation, draws: Tensor) -> Batch:
    """Warp, relight and partly cover each face by amounts of its own.

    Image, neutral twin, mask and landmarks move together; light and the painted
    rectangle change image and twin alike: they differ by the expression alone.

    Args:
        draws: (B, 12) uniform in [0, 1), all randomness there is: a face's result
            depends on its own row and on nothing else.

    Explained in: book/baseline.ipynb
    """
    signed = draws * 2 - 1
    flip = torch.where(draws[:, 0] < amounts.flip, -1.0, 1.0)
    matrix = _affine(flip, signed[:, 1:5], amounts)  # (B, 2, 3)
    planes = [p for p in (batch.image, batch.neutral, batch.mask) if p is not None]
    grid = F.affine_grid(matrix, list(planes[0].shape), align_corners=False)
    warped = F.grid_sample(torch.cat(planes, 1), grid, padding_mode="border", align_corners=False)
    parts = iter(warped.split([p.shape[1] for p in planes], dim=1))
    image = _relight(next(parts), signed[:, 5:7], amounts.light)
    neutral = None if batch.neutral is None else _relight(next(parts), signed[:, 5:7], amounts.light)
    covered, grey = _box(image, draws[:, 7:12], amounts), image.mean(dim=(1, 2, 3), keepdim=True)
    points = [
        None if x is None else _move(x, matrix, flip, image.shape[-1]) for x in (batch.landmarks, batch.neutral_landmarks)
    ]
    return Batch(
        image=torch.where(covered, grey, image),
        label=batch.label,
        index=batch.index,
        target=batch.target,
        neutral=None if neutral is None else torch.where(covered, grey, neutral),
        neutral_landmarks=points[1],
        mask=None if batch.mask is None else next(parts),
        landmarks=points[0],
    )


def _affine(flip: Tensor, signed: Tensor, amounts: Augmentation) -> Tensor:
    """Where each output pixel comes from, in [-1, 1] coordinates: (B, 2, 3)."""
    angle = signed[:, 0] * math.radians(amounts.rotate)
    zoom = 1 / (1 + signed[:, 1] * amounts.scale)
    cos, sin = torch.cos(angle) * zoom, torch.sin(angle) * zoom
    x, y = 2 * amounts.shift * signed[:, 2], 2 * amounts.shift * signed[:, 3]
    return torch.stack([torch.stack([cos * flip, -sin, x], 1), torch.stack([sin * flip, cos, y], 1)], 1)


def _relight(image: Tensor, signed: Tensor, light: float) -> Tensor:
    gain = (1 + light * signed[:, 0])[:, None, None, None]
    offset = (light / 2 * signed[:, 1])[:, None, None, None]
    mean = image.mean(dim=(1, 2, 3), keepdim=True)
    return ((image - mean) * gain + mean + offset).clamp(0, 1)


def _box(image: Tensor, draws: Tensor, amounts: Augmentation) -> Tensor:
    """Where the rectangle lies, if there is one: bool (B, 1, H, W)."""
    side = torch.arange(image.shape[-1], device=image.device) / image.shape[-1]
    low, high = amounts.erase_side
    size = low + (high - low) * draws[:, 1:3]  # (B, 2) height, width
    start = draws[:, 3:5] * (1 - size)
    inside = (side >= start[..., None]) & (side < (start + size)[..., None])  # (B, 2, W)
    box = inside[:, 0, :, None] & inside[:, 1, None, :] & (draws[:, 0] < amounts.erase)[:, None, None]
    return box[:, None]


def _move(landmarks: Tensor, matrix: Tensor, flip: Tensor, width: int) -> Tensor:
    """Landmarks go the way the pixels went: the inverse of the sampling matrix."""
    point = (2 * landmarks + 1) / width - 1 - matrix[:, None, :, 2]  # (B, P, 2)
    point = point @ torch.linalg.inv(matrix[:, :, :2]).transpose(1, 2)
    pixel = ((point + 1) * width - 1) / 2
    mirrored = (flip < 0)[:, None, None]
    return torch.where(mirrored, pixel[:, MIRROR[pixel.shape[1]].to(pixel.device)], pixel)
