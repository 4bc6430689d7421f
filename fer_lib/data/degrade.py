"""What spoils a photograph of a face: too little light, too few pixels.

Every function works on a whole batch on its device. Random amounts depend on the
image's number, the parameters and the seed alone, not on the batch.
"""

import math
from dataclasses import dataclass, fields

import torch
import torch.nn.functional as F
from kornia.enhance import jpeg_codec_differentiable
from kornia.filters import gaussian_blur2d
from torch import Tensor

from fer_lib.data.hashing import normal, uniform
from fer_lib.errors import FerError

SCALES = (2, 4, 8)
EXACT = 8.0
_STEPS = 28
_PHOTONS, _READING, _SIGMA, _NOISE, _QUALITY, _AMOUNT = range(6)


@dataclass(frozen=True)
class LowLight:
    """How dark, and how noisy for it; in linear light, where 1 is the sensor's white.

    Each is a number or a float tensor (B,), one value per image.

    Attributes:
        exposure: share of the light that is left, in (0, 1].
        gamma: exponent on linear light, at least 1: darks sink further than lights.
        photons: counted at white; a pixel of value v counts Poisson(photons * v).
        reading: standard deviation of the sensor's own Gaussian noise, as a share of white.

    Explained in: book/faces.ipynb
    """

    exposure: float | Tensor = 1.0
    gamma: float | Tensor = 1.0
    photons: float | Tensor = 1e6
    reading: float | Tensor = 0.0

    def __post_init__(self):
        ranges = {"exposure": (1e-6, 1.0), "gamma": (1.0, 10.0), "photons": (1.0, 1e9), "reading": (0.0, 1.0)}
        for name, (low, high) in ranges.items():
            value = torch.as_tensor(getattr(self, name))
            if not bool(((value >= low) & (value <= high)).all()):
                raise FerError(f"Low light: {name} must lie in {low:g} to {high:g}; {getattr(self, name)} does not.")


# A flat grey of sRGB value 128 comes out near 61 (dusk), 28 (a dim room), 9 (night, grain all over).
SEVERITIES = {
    "mild": LowLight(exposure=0.30, gamma=1.2, photons=4000, reading=0.0005),
    "medium": LowLight(exposure=0.10, gamma=1.4, photons=2000, reading=0.0010),
    "severe": LowLight(exposure=0.03, gamma=1.5, photons=1000, reading=0.0015),
}


def low_light(image: Tensor, severity: str | LowLight, index: Tensor, seed: int = 0) -> Tensor:
    r"""The photograph taken in too little light: darker, noisy, with few grey levels left.

    With :math:`v` the image in linear light, :math:`e, g, k, s` the severity's exposure,
    gamma, photons and reading noise,

    .. math:: v' = \mathrm{clip}\big(\mathrm{Poisson}(k\,e\,v^g)/k + \mathcal N(0, s^2)\big),

    brought back to sRGB and rounded to 8 bits.

    Args:
        image: float (B, C, H, W), sRGB in [0, 1].
        severity: ``mild``, ``medium``, ``severe``, or parameters of one's own.
        index: int64 (B,), the images' numbers in their FaceSet.
        seed: any integer; another seed is another noise.

    Returns:
        (B, C, H, W) of the image's type, in [0, 1], multiples of 1/255. Equal on every
        device but for rounding, which may move a pixel by one level.

    Raises:
        FerError: if the severity is unknown, or there is not one index an image.

    Explained in: book/faces.ipynb
    """
    index = _column(index, image)
    dark = _severity(severity)
    amount = {f.name: _amount(getattr(dark, f.name), image) for f in fields(LowLight)}
    # Contiguous, so that a pixel's arithmetic does not depend on the memory layout.
    linear = srgb_to_linear(image.float().contiguous())  # (B, C, H, W)
    light = amount["exposure"] * linear**amount["gamma"]
    pixel = torch.arange(image[0].numel(), device=image.device).view(image.shape[1:])
    counts = poisson(amount["photons"] * light, uniform(seed, _PHOTONS, index, pixel))
    noise = amount["reading"] * normal(seed, _READING, index, pixel)
    seen = (counts / amount["photons"] + noise).clamp(0, 1)
    return quantize(linear_to_srgb(seen)).to(image.dtype)


def low_resolution(image: Tensor, scale: int) -> Tensor:
    """The image with ``scale`` times fewer pixels each way: antialiased bicubic, 8 bits.

    The kernel is Keys's cubic with a = -0.5 stretched by ``scale``, as in Pillow and
    MATLAB, on sRGB values, as super-resolution papers do it.

    Args:
        image: float (B, C, H, W) in [0, 1].
        scale: 2, 4 or 8; a side that it does not divide is rounded.

    Returns:
        (B, C, H / scale, W / scale) in [0, 1], multiples of 1/255.

    Raises:
        FerError: if the scale is another.

    Explained in: book/faces.ipynb
    """
    return quantize(_shrink(image.float(), scale)).to(image.dtype)


def realistic_low_resolution(image: Tensor, scale: int, index: Tensor, seed: int = 0) -> Tensor:
    """Fewer pixels as they come from a camera far away: blur, shrink, noise, JPEG.

    Each image draws its own amounts, uniformly: Gaussian blur of standard deviation
    0.2 to 3 px for a face 112 px high (in proportion for another height), noise of up
    to 10/255, JPEG quality 40 to 95. The JPEG codec is kornia's (Reich et al., 2024).

    Args:
        image: float (B, C, H, W), C = 1 or 3, in [0, 1].
        scale: 2, 4 or 8.
        index: int64 (B,), the images' numbers in their FaceSet.
        seed: any integer; another seed is another degradation.

    Returns:
        (B, C, H / scale, W / scale) in [0, 1], multiples of 1/255.

    Raises:
        FerError: if the scale is another, or there is not one index an image.

    Explained in: book/faces.ipynb
    """
    index = _column(index, image)
    per_image = index.view(-1)
    height, channels = image.shape[-2], image.shape[1]
    sigma = (0.2 + 2.8 * uniform(seed, _AMOUNT, _SIGMA, per_image)) * height / 112  # (B,)
    quality = 40 + 55 * uniform(seed, _AMOUNT, _QUALITY, per_image)
    level = 10 / 255 * uniform(seed, _AMOUNT, _NOISE, index)  # (B, 1, 1, 1)
    width = 2 * min(-(-9 * height // 112), height - 1, image.shape[-1] - 1) + 1
    blurred = gaussian_blur2d(image.float(), width, sigma[:, None].expand(-1, 2))
    small = _shrink(blurred, scale)
    pixel = torch.arange(small[0].numel(), device=image.device).view(small.shape[1:])
    small = (small + level * normal(seed, _NOISE, index, pixel)).clamp(0, 1)
    coded = jpeg_codec_differentiable(small.expand(-1, 3, -1, -1), quality)
    # The codec computes in YCbCr: of a grey image the three channels differ by rounding.
    coded = coded.mean(1, keepdim=True) if channels == 1 else coded
    return quantize(coded.clamp(0, 1)).to(image.dtype)


def upsample(image: Tensor, size: int | tuple[int, int]) -> Tensor:
    """The image enlarged to ``size`` = (H, W) or a square, by plain bicubic interpolation.

    Same kernel as :func:`low_resolution`; the overshoot beside edges is cut off.

    Args:
        image: float (B, C, h, w) in [0, 1].
        size: in pixels.

    Returns:
        (B, C, H, W) in [0, 1].

    Explained in: book/faces.ipynb
    """
    size = (size, size) if isinstance(size, int) else tuple(size)
    return _bicubic(image.float(), size).to(image.dtype)


def poisson(rate: Tensor, chance: Tensor) -> Tensor:
    """Poisson numbers by inversion: the smallest k whose distribution function reaches ``chance``.

    Exact to float32 for rates up to 8. Above, the quantile's Cornish-Fisher expansion
    to third order with the correction for rounding: equal to the exact number or one
    beside it (at rate 8 one in 330 is, at 64 one in 3,000), mean and variance equal.

    Args:
        rate: float32, at least 0.
        chance: float32 in (0, 1), of a shape that broadcasts with the rates.

    Returns:
        float32, whole numbers.

    Explained in: book/faces.ipynb
    """
    rate, chance = torch.broadcast_tensors(rate, chance)
    small = rate.clamp(max=EXACT)
    power = torch.exp(-small)
    below, count = power.clone(), torch.zeros_like(power, dtype=torch.uint8)
    # Past 28 the remaining chance at rate 8 is under 2^-24, the smallest that is drawn.
    for k in range(1, _STEPS + 1):
        count += (chance > below).view(torch.uint8)
        below.add_(power.mul_(small), alpha=1 / math.factorial(k))
    z, root = torch.special.ndtri(chance), rate.clamp(min=EXACT).sqrt()
    large = root**2 + root * z + (z**2 - 1) / 6 - (z**3 + 2 * z) / (72 * root)
    return torch.where(rate <= EXACT, count, large.round().clamp(min=0))


def srgb_to_linear(value: Tensor) -> Tensor:
    """Linear light from sRGB values, both in [0, 1] (IEC 61966-2-1).

    Explained in: book/faces.ipynb
    """
    return torch.where(value <= 0.04045, value / 12.92, ((value.clamp(min=0.04045) + 0.055) / 1.055) ** 2.4)


def linear_to_srgb(value: Tensor) -> Tensor:
    """sRGB values from linear light, both in [0, 1] (IEC 61966-2-1).

    Explained in: book/faces.ipynb
    """
    return torch.where(
        value <= 0.0031308, value * 12.92, 1.055 * value.clamp(min=0.0031308) ** (1 / 2.4) - 0.055
    )


def quantize(image: Tensor) -> Tensor:
    """Values in [0, 1] rounded to multiples of 1/255, as an 8-bit file keeps them.

    Explained in: book/faces.ipynb
    """
    return (image * 255).round() / 255


def _severity(severity: str | LowLight) -> LowLight:
    if isinstance(severity, LowLight):
        return severity
    if severity not in SEVERITIES:
        raise FerError(f"There is no severity {severity!r}: take one of {', '.join(SEVERITIES)}.")
    return SEVERITIES[severity]


def _amount(value: float | Tensor, image: Tensor) -> float | Tensor:
    return value.to(image.device, torch.float32).view(-1, 1, 1, 1) if isinstance(value, Tensor) else value


def _column(index: Tensor, image: Tensor) -> Tensor:
    if image.ndim != 4 or index.shape != image.shape[:1]:
        raise FerError(
            f"Images {tuple(image.shape)} and index {tuple(index.shape)} do not fit: "
            "give images (B, C, H, W) and one number for each."
        )
    return index.to(image.device, torch.int64).view(-1, 1, 1, 1)


def _shrink(image: Tensor, scale: int) -> Tensor:
    if scale not in SCALES:
        raise FerError(f"There is no scale {scale}: take one of {', '.join(map(str, SCALES))}.")
    return _bicubic(image, tuple(max(1, round(side / scale)) for side in image.shape[-2:]))


def _bicubic(image: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(image, size=size, mode="bicubic", antialias=True, align_corners=False).clamp(0, 1)
