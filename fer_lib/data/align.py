"""Faces turned, scaled and shifted so that the eyes lie where the template has them.

Only the eyes decide. A smile moves the mouth's corners, an open mouth the chin: a fit
to all points would move the whole face with them, and so hide or fake an expression.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from fer_lib.errors import FerError

ALIGNMENT = "eyes-1"  # name and version: another template, or another way to sample, needs another number
TEMPLATE = ((0.34, 0.32), (0.66, 0.32))  # left and right eye, as shares of the width
EYES = {5: ((0,), (1,)), 68: (range(36, 42), range(42, 48)), 189: ((0,), (1,))}
FAR = 1_000_000  # pixels
SAMPLES = 1 << 21  # taken at once: bounds memory


def eye_centres(landmarks: Tensor) -> Tensor:
    """The centres of both eyes, the left one in the picture first.

    Args:
        landmarks: float (N, P, 2), (x, y) in pixels; P = 5, 68 or 189 (:mod:`fer_lib.data.landmarks`).
            Of 68 points, the six around an eye are averaged. Other points are not looked at.

    Returns:
        float64 (N, 2, 2): left and right eye, (x, y) in pixels, on the CPU.

    Raises:
        FerError: if the number of points is unknown, an eye is not given or far outside any picture,
            both are at one place, or they are exchanged: the one called left lies right of the other.

    Explained in: book/data.md
    """
    points = landmarks.shape[1] if landmarks.ndim == 3 else 0
    if points not in EYES or landmarks.shape[2] != 2:
        form = tuple(landmarks.shape)
        raise FerError(f"Landmarks must be (N, P, 2) with P = 5, 68 or 189, not {form}: give one of these schemes.")
    exact = landmarks.detach().double().cpu()
    eyes = torch.stack([exact[:, list(rows)].mean(1) for rows in EYES[points]], 1)
    for face in (~eyes.isfinite().all(-1).all(-1)).nonzero()[:1, 0].tolist():
        raise FerError(f"Face {face} of {len(eyes)} has no place for an eye (NaN): mark both eyes, or leave it out.")
    for face in (eyes.abs() > FAR).any(-1).any(-1).nonzero()[:1, 0].tolist():
        raise FerError(f"Face {face} of {len(eyes)} has an eye beyond {FAR:,} pixels: mark it anew, or leave it out.")
    for face in ((eyes[:, 1] - eyes[:, 0]).norm(dim=-1) < 1).nonzero()[:1, 0].tolist():
        raise FerError(f"Face {face} of {len(eyes)} has both eyes at one place: mark them anew, or leave it out.")
    for face in (eyes[:, 1, 0] < eyes[:, 0, 0]).nonzero()[:1, 0].tolist():
        what = f"Face {face} of {len(eyes)} has its left eye right of the right one"
        raise FerError(f"{what}; left means left in the picture: exchange them.")
    return eyes


def alignment(landmarks: Tensor, size: int) -> Tensor:
    """The similarity transforms that bring the eyes to the template.

    A similarity turns, scales alike in both directions, and shifts; it never mirrors.

    .. math:: \\binom{x'}{y'} = \\begin{pmatrix} a & -b \\\\ b & a \\end{pmatrix} \\binom{x}{y} + t

    Two points decide its four numbers: with the eyes' vector :math:`e` and the template's
    :math:`(D, 0)`, :math:`a = D e_x / |e|^2` and :math:`b = -D e_y / |e|^2`.

    Args:
        landmarks: as for :func:`eye_centres`.
        size: side of the aligned picture in pixels.

    Returns:
        float64 (N, 2, 3): from (x, y, 1) in the picture to (x, y) in the aligned one, in pixels
        with the corner pixel's centre at (0, 0).

    Raises:
        FerError: if ``size`` is less than 1, or as :func:`eye_centres`.

    Explained in: book/data.md
    """
    if size < 1:
        raise FerError(f"Aligned pictures cannot be {size} pixels wide: give a size of 1 or more.")
    eyes = eye_centres(landmarks)
    left, right = torch.tensor(TEMPLATE, dtype=torch.float64) * size - 0.5
    across = eyes[:, 1] - eyes[:, 0]
    a, b = ((right - left)[0] * across / across.square().sum(-1, keepdim=True)).unbind(-1)
    turn = torch.stack([torch.stack([a, b], -1), torch.stack([-b, a], -1)], 1)  # (N, 2, 2)
    shift = left - (turn @ eyes[:, 0, :, None])[..., 0]
    return torch.cat([turn, shift[..., None]], -1)


def moved(landmarks: Tensor, matrix: Tensor) -> Tensor:
    """Points after a transform.

    Args:
        landmarks: float (N, P, 2), (x, y) in pixels; NaN stays NaN.
        matrix: (N, 2, 3), from :func:`alignment`.

    Returns:
        float32 (N, P, 2), in pixels of the transformed picture.

    Explained in: book/data.md
    """
    matrix = matrix.to(landmarks.device)
    return (landmarks.to(matrix) @ matrix[:, :, :2].mT + matrix[:, None, :, 2]).float()


def align(images: Tensor, landmarks: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Pictures with the eyes where the template has them, at any size.

    The left eye comes to (0.34, 0.32) and the right one to (0.66, 0.32) of the width. Each
    output pixel is the mean of k x k samples spread evenly over its square, and each sample is
    interpolated between four input pixels; k is how many input pixels the square is wide,
    rounded up. So a large photo shrinks without aliasing (fine patterns that turn into
    coarse ones), and a picture that already fits comes out unchanged. Beyond the
    picture's edge its border pixels are repeated.

    Args:
        images: uint8 (N, C, H, W), any height and width.
        landmarks: float (N, P, 2), as for :func:`eye_centres`.
        size: side of the aligned pictures in pixels.

    Returns:
        uint8 (N, C, size, size), and the landmarks in its pixels, float32 (N, P, 2). A face does
        not depend on the others in the batch.

    Raises:
        FerError: if the images are not uint8 (N, C, H, W) with one row of landmarks each, or as
            :func:`alignment`.

    Explained in: book/data.md
    """
    if images.dtype != torch.uint8 or images.ndim != 4 or len(images) != len(landmarks):
        form = f"{str(images.dtype).removeprefix('torch.')} {tuple(images.shape)}"
        raise FerError(f"Images must be uint8 (N, C, H, W), a row of landmarks each, not {form}: reshape them.")
    matrix = alignment(landmarks, size)
    back = _inverse(matrix)
    # The hair's breadth keeps rounding from taking 1.0000000001 for 2.
    taps = (back[:, :, 0].norm(dim=-1) - 1e-6).ceil().clamp(min=1).long()
    out = images.new_empty((len(images), images.shape[1], size, size))
    for k in taps.unique().tolist():
        rows = (taps == k).nonzero()[:, 0]
        band = min(size, max(1, SAMPLES // (size * k * k)))
        chunk = max(1, SAMPLES // max(band * size * k * k, images[0, 0].numel()))
        for some in rows.split(chunk):
            pixels = images[some.to(images.device)].float()
            for top in range(0, size, band):
                bottom = min(top + band, size)
                out[some.to(out.device), :, top:bottom] = _sample(pixels, back[some], k, top, bottom, size)
    return out, moved(landmarks, matrix)


def _inverse(matrix: Tensor) -> Tensor:
    turn = torch.linalg.inv(matrix[:, :, :2])
    return torch.cat([turn, -turn @ matrix[:, :, 2:]], -1)


def _sample(pixels: Tensor, back: Tensor, k: int, top: int, bottom: int, size: int) -> Tensor:
    """Rows ``top`` to ``bottom`` of the aligned pictures: (n, C, bottom - top, size)."""
    place = (torch.arange(size * k, dtype=torch.float64) + 0.5) / k - 0.5
    y, x = torch.meshgrid(place[top * k : bottom * k], place, indexing="ij")
    points = torch.stack([x, y, torch.ones_like(x)], -1) @ back[:, None].mT  # (n, rows * k, size * k, 2)
    width = torch.tensor([pixels.shape[3], pixels.shape[2]])
    grid = ((2 * points + 1) / width - 1).float().to(pixels.device)
    sampled = F.grid_sample(pixels, grid, padding_mode="border", align_corners=False)
    return F.avg_pool2d(sampled, k).round_().clamp_(0, 255).to(torch.uint8)
