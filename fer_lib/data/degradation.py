"""One word for what spoils every image of a run: ``low_light:severe``, ``low_resolution:4+low_light:mixed`` ..."""

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from fer_lib.data.degrade import SCALES, SEVERITIES, LowLight, low_light, low_resolution, realistic_low_resolution
from fer_lib.data.hashing import bits
from fer_lib.errors import FerError

DRAWN = {"mixed": tuple(SEVERITIES.values()), "any": (*SEVERITIES.values(), LowLight())}
AMOUNTS = {
    "low_light": (*SEVERITIES, *DRAWN),
    "low_resolution": tuple(map(str, SCALES)),
    "realistic_low_resolution": tuple(map(str, SCALES)),
}


@dataclass(frozen=True)
class Degradation:
    """What a :class:`fer_lib.data.loader.Loader` does to each batch of clean images.

    Attributes:
        kind: ``low_light``, ``low_resolution`` or ``realistic_low_resolution``, the functions
            of :mod:`fer_lib.data.degrade`.
        amount: ``mild``, ``medium``, ``severe``, or ``mixed``, where each image draws one of the
            three, or ``any``, which has good light as a fourth; for resolution how many times fewer pixels each way: ``2``, ``4`` or ``8``.

    Raises:
        FerError: if there is no such kind or amount.

    Explained in: book/faces.ipynb
    """

    kind: str
    amount: str

    def __post_init__(self):
        if self.kind not in AMOUNTS:
            raise FerError(f"There is no degradation '{self.kind}': choose one of {', '.join(AMOUNTS)}.")
        if self.amount not in AMOUNTS[self.kind]:
            known = ", ".join(f"{self.kind}:{amount}" for amount in AMOUNTS[self.kind])
            raise FerError(f"There is no degradation '{self.kind}:{self.amount}': choose one of {known}.")

    @classmethod
    def of(cls, text: str) -> "Degradation | Chain | None":
        """From ``kind:amount``, or several with ``+`` between, in the order of their happening; "" is no degradation."""
        links = [cls(*part.partition(":")[::2]) for part in text.split("+")] if text else [None]
        return Chain(tuple(links)) if len(links) > 1 else links[0]

    def __call__(self, image: Tensor, index: Tensor, seed: int = 0) -> Tensor:
        """The degraded images: as large as before in low light, smaller at low resolution.

        Args:
            image: float32 (B, C, H, W) in [0, 1].
            index: int64 (B,), the images' numbers in their FaceSet.
            seed: any integer; another seed is another noise.
        """
        if self.kind == "low_light":
            drawn = DRAWN.get(self.amount)
            return low_light(image, _one_of(drawn, index, seed) if drawn else self.amount, index, seed)
        if self.kind == "low_resolution":
            return low_resolution(image, int(self.amount))
        return realistic_low_resolution(image, int(self.amount), index, seed)


@dataclass(frozen=True)
class Chain:
    """Degradations one after the other, each on what the one before it has left.

    Explained in: book/faces.ipynb
    """

    links: tuple[Degradation, ...]

    def __call__(self, image: Tensor, index: Tensor, seed: int = 0) -> Tensor:
        for link in self.links:
            image = link(image, index, seed)
        return image


def _one_of(severities: tuple[LowLight, ...], index: Tensor, seed: int) -> LowLight:
    """One of the severities for each image."""
    rows = torch.tensor([[getattr(s, f.name) for f in fields(LowLight)] for s in severities])
    chosen = rows.to(index.device)[(bits(seed, 6, index) >> 33) % len(rows)]  # (B, 4)
    return LowLight(*chosen.unbind(1))
