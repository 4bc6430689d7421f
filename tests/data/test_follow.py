"""Eyes followed from one picture to the next: known moves, and highlights in real eyes."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from made_up_pairs import SHIFT, portrait
from scipy.ndimage import gaussian_filter, maximum_filter

from fer_lib.data.align import TEMPLATE
from fer_lib.data.archive import Archive
from fer_lib.data.follow import SURE, follow_eyes
from fer_lib.data.london import _London
from fer_lib.data.pixels import read_pixels

REAL = Path(__file__).parents[3] / "shared" / "data" / "london"
EYES = torch.tensor([[45.0, 50.0], [75.0, 51.0]])


def picture(pixels: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(pixels.transpose(2, 0, 1).copy())


@pytest.mark.parametrize("seed", range(3))
def test_a_shifted_face_that_smiles(seed):
    eyes, agreement = follow_eyes(picture(portrait(seed)), EYES, picture(portrait(seed, SHIFT, smile=255)))
    assert eyes.dtype == torch.float64 and agreement > 0.95
    assert (eyes - EYES - torch.tensor(SHIFT)).abs().max() < 0.3


@pytest.mark.parametrize(("zoom", "degrees"), [(1.07, 5), (0.93, -6), (1.0, 3)])
def test_a_nearer_or_tilted_face_in_other_light(zoom, degrees):
    """Smooth waves, seen through a known turn about (120, 110); the eyes are 60 pixels apart."""
    eyes = 2 * EYES
    y, x = torch.meshgrid(torch.arange(240.0), torch.arange(240.0), indexing="ij")
    angle = math.radians(degrees)
    turn = zoom * torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    centre = torch.tensor([120.0, 110.0])

    def waves(points: torch.Tensor) -> torch.Tensor:
        a, b = points.unbind(-1)
        return 110 + 35 * torch.sin(a / 4 + torch.cos(b / 5)) + 35 * torch.cos(b / 3 + a / 7) + 20 * torch.sin(a * b / 300)

    points = torch.stack([x, y], -1)
    first = waves(points)
    second = 0.7 * waves((points - centre) @ torch.linalg.inv(turn).T + centre) + 30
    found, agreement = follow_eyes(first[None].byte(), eyes, second[None].byte())
    assert agreement > 0.8 and (found - ((eyes - centre) @ turn.T + centre)).norm(dim=-1).max() < 0.7


def test_another_picture_is_not_taken_for_the_same():
    noise = torch.randint(0, 256, (1, 120, 120), dtype=torch.uint8, generator=torch.Generator().manual_seed(3))
    for second in (noise, torch.full((1, 120, 120), 90, dtype=torch.uint8)):
        assert follow_eyes(picture(portrait(1)), EYES, second)[1] < SURE


def highlights(plane: np.ndarray, eye: np.ndarray, apart: float) -> np.ndarray:
    """Where the studio's lamps are mirrored in an eye, from its centre, in distances of the eyes: (n, 2)."""
    r = round(0.11 * apart)
    left, top = np.round(eye).astype(int) - r
    around = plane[top : top + 2 * r + 1, left : left + 2 * r + 1]
    spots = gaussian_filter(around, 0.7) - gaussian_filter(around, 3)
    y, x = np.mgrid[-r : r + 1, -r : r + 1]
    spots[np.hypot(x, y) > r] = 0
    is_spot = (spots == maximum_filter(spots, 3)) & (spots > 0.4 * spots.max()) & (spots > 15)
    places = []
    for row, column in zip(*np.nonzero(is_spot[1:-1, 1:-1]), strict=True):
        weight = np.clip(spots[row : row + 3, column : column + 3], 0, None)
        rows, columns = np.mgrid[row : row + 3, column : column + 3]
        places.append(((weight * columns).sum() / weight.sum() + left, (weight * rows).sum() / weight.sum() + top))
    return (np.array(places).reshape(-1, 2) - eye) / apart


@pytest.mark.skipif(not REAL.exists(), reason="the real London Set is not here")
def test_smiling_eyes_lie_within_a_pixel_of_the_template():
    """The lamps' reflections are not what ``follow_eyes`` looks for: they measure it from outside.

    Reflections keep their place in the eye while the person looks at the camera. So wherever both
    pictures show one, its place relative to the eye must agree, at 112 px, within a pixel.
    """
    width = 112 * (TEMPLATE[1][0] - TEMPLATE[0][0])
    errors = []
    with Archive(REAL) as archive:
        album = _London(archive)
        rows = album.shots().rows
        assert len(rows) == 164
        for row in rows[1::2]:
            both = [read_pixels(archive.read(name), 3, modes=("RGB",)) for name in (row.neutral, row.name)]
            eyes = album.marks[row.neutral][0, :2]
            first, second = (torch.from_numpy(pixels.copy()) for pixels in both)
            followed, agreement = follow_eyes(first, eyes, second)
            assert agreement > 0.65
            for eye in (0, 1):
                found = [
                    highlights(pixels.mean(0), places[eye].numpy(), float((places[1] - places[0]).norm()))
                    for pixels, places in zip(both, (eyes, followed), strict=True)
                ]
                if all(map(len, found)):
                    errors.append(np.linalg.norm(found[1][:, None] - found[0], axis=-1).min() * width)
    assert len(errors) >= 155
    assert np.max(errors) < 1 and np.quantile(errors, 0.95) < 0.4
