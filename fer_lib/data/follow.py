"""Where the eyes have gone from one picture of a person to the next."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

SURE = 0.5  # the least agreement that counts as found; of the London Set's 164 eyes the least is 0.68
FAR = 0.05  # what agreement loses towards the border of the search: shut eyes agree with lashes nearby as well
LUMA = (0.299, 0.587, 0.114)
STEADY = 4.0  # grey levels: a patch that varies less shows no eye

# Heads come nearer and tilt between two pictures: the whole eye region is looked for first, then each eye.
ZOOMS, TILTS = torch.arange(0.86, 1.15, 0.02), torch.arange(-8, 8.1, 2)
FINE = torch.tensor([0.97, 1.0, 1.03])
# Width and height of the patches, and how far the band's middle lies below the eyes, in distances of the eyes:
# hair may fall over the brows, the mouth may smile, the nose between them stays.
BAND, BELOW, EYE = (1.4, 0.7), 0.2, (0.5, 0.28)


def follow_eyes(first: Tensor, eyes: Tensor, second: Tensor) -> tuple[Tensor, float]:
    """The eyes' centres in a second picture of the same person.

    A band with both eyes and the bridge of the nose is cut out of the first picture, at several
    sizes and tilts, and laid over every place of the second one; agreement is their normalized
    cross-correlation, 1 where they differ by brightness and contrast alone. Around the best
    place each eye is looked for alone, to a fraction of a pixel, nearer places being preferred a
    little. Neither patch reaches down to the mouth, which a smile moves.

    Args:
        first: uint8 (C, H, W).
        eyes: (2, 2), the left and right eye's centre in it, (x, y) in pixels.
        second: uint8 (C, H', W'), the same light and about the same distance.

    Returns:
        float64 (2, 2), the centres in ``second``, and the agreement, -1 to 1, at the worse of
        the two eyes; below ``SURE`` they are not found.

    Explained in: book/data.md
    """
    eyes = eyes.double()
    across = eyes[1] - eyes[0]
    apart = float(across.norm())
    middle = eyes.mean(0) + BELOW * torch.stack([-across[1], across[0]])

    small = max(1, round(apart / 20))
    zooms, tilts = (axis.flatten() for axis in torch.meshgrid(ZOOMS, TILTS, indexing="ij"))
    before, after = _grey(first, small), _grey(second, small)
    patches = _cut(before, _shrunk(middle, small), zooms, tilts, BAND, apart / small)
    _, place, best = _find(patches, after, _shrunk(middle, small), 1.5 * apart / small)
    zoom, tilt = zooms[best : best + 1], tilts[best : best + 1]
    guess = (eyes - middle) @ _turn(zoom, tilt)[0].T + (place + 0.5) * small - 0.5

    small = max(1, round(apart / 80))
    before, after, found, scores = _grey(first, small), _grey(second, small), [], []
    for eye, near in zip(eyes, guess, strict=True):
        patches = _cut(before, _shrunk(eye, small), zoom * FINE, tilt, EYE, apart / small)
        score, place, _ = _find(patches, after, _shrunk(near, small), 0.08 * apart / small)
        found.append((place + 0.5) * small - 0.5)
        scores.append(score)
    return torch.stack(found), min(scores)


def _grey(picture: Tensor, small: int) -> Tensor:
    """The luminance, ``small`` times smaller: (1, 1, h, w)."""
    weights = torch.tensor(LUMA if len(picture) == 3 else (1.0,))
    return F.avg_pool2d(torch.tensordot(weights, picture.float(), 1)[None, None], small)


def _shrunk(point: Tensor, small: int) -> Tensor:
    return (point + 0.5) / small - 0.5


def _turn(zoom: Tensor, tilt: Tensor) -> Tensor:
    """(K, 2, 2)."""
    cos, sin = (f(tilt.double() * math.pi / 180) * zoom for f in (torch.cos, torch.sin))
    return torch.stack([torch.stack([cos, -sin], -1), torch.stack([sin, cos], -1)], 1)


def _cut(plane: Tensor, centre: Tensor, zooms: Tensor, tilts: Tensor, sides: tuple, unit: float) -> Tensor:
    """What lies around ``centre``, as it would look larger and tilted: (K, 1, h, w), odd sides."""
    w, h = (2 * round(side * unit / 2) + 1 for side in sides)
    y, x = torch.meshgrid(torch.arange(h) - h // 2, torch.arange(w) - w // 2, indexing="ij")
    back = torch.linalg.inv(_turn(zooms, tilts))[:, None]  # (K, 1, 2, 2)
    points = torch.stack([x, y], -1).double() @ back.mT + centre  # (K, h, w, 2)
    size = torch.tensor([plane.shape[3], plane.shape[2]])
    grid = ((2 * points + 1) / size - 1).float()
    return F.grid_sample(plane.expand(len(grid), -1, -1, -1), grid, padding_mode="border", align_corners=False)


def _find(patches: Tensor, plane: Tensor, near: Tensor, reach: float) -> tuple[float, Tensor, int]:
    """The agreement, place (x, y) and number of the patch that agrees best within ``reach`` of ``near``."""
    h, w = patches.shape[2:]
    reach = math.ceil(reach)
    x, y = (min(max(round(float(v)), 0), side - 1) for v, side in zip(near, plane.shape[:1:-1], strict=True))
    around = F.pad(plane, [reach + w // 2] * 2 + [reach + h // 2] * 2, mode="replicate")
    around = around[:, :, y : y + 2 * (reach + h // 2) + 1, x : x + 2 * (reach + w // 2) + 1]
    around = around - around.mean()
    mean = F.avg_pool2d(around, (h, w), 1)
    spread = (F.avg_pool2d(around.square(), (h, w), 1) - mean.square()).clamp(min=STEADY**2).sqrt()
    patches = patches - patches.mean(dim=(2, 3), keepdim=True)
    patches = patches / (patches.square().mean(dim=(2, 3), keepdim=True).sqrt().clamp(min=STEADY) * h * w)
    scores = F.conv2d(around, patches)[0] / spread[0]  # (K, 2 reach + 1, 2 reach + 1)
    away = torch.arange(-reach, reach + 1) / reach
    scores = scores - FAR * (away.square() + away[:, None].square())
    best, row, column = (int(i) for i in torch.unravel_index(scores.argmax(), scores.shape))
    values = scores[best]
    right, down = _between(values[row], column), _between(values[:, column], row)
    place = torch.tensor([x + column - reach + right, y + row - reach + down], dtype=torch.float64)
    return float(values[row, column]), place, best


def _between(line: Tensor, at: int) -> float:
    """How far from its highest value the parabola through it and its neighbours has its top."""
    if not 0 < at < len(line) - 1:
        return 0.0
    before, top, after = line[at - 1 : at + 2].tolist()
    bend = before - 2 * top + after
    return (before - after) / (2 * bend) if bend < 0 else 0.0
