"""A face and its neutral twin: what differs between them, in pixels and in landmarks."""

import torch
from torch import Tensor

from fer_lib.data.align import EYES
from fer_lib.data.loader import Batch
from fer_lib.errors import FerError
from fer_lib.parallel import all_sum, share

POINTS = 68


def motion(points: Tensor, rest: Tensor) -> Tensor:
    r"""How far landmarks have moved from a neutral face: :math:`(\ell(x) - \ell(n)) / e`, with e the eyes' distance in n.

    Shapes:
        two of (B, 68, 2) in pixels -> (B, 68, 2), in distances between the eyes' centres; NaN stays NaN.

    Explained in: book/err_net.ipynb
    """
    left, right = (rest[:, list(eye)].mean(1) for eye in EYES[POINTS])
    return (points - rest) / (right - left).norm(dim=1)[:, None, None].clamp(min=1e-6)


def neutral_of(batch: Batch) -> Tensor:
    """The neutral faces that the estimates are compared with: the twins, and for a neutral face itself.

    Shapes:
        -> (B, 3, H, W).

    Explained in: book/err_net.ipynb
    """
    calm = (batch.label == 0)[:, None, None, None]
    return torch.where(calm, batch.image, batch.neutral).expand(-1, 3, -1, -1)


def share_left(guess: Tensor, truth: Tensor) -> Tensor:
    r"""The share of a residual that is not yet explained: :math:`\sum(\hat r-r)^2 / \sum r^2`, over the whole batch.

    1 for the guess that nothing changes. A truth that is (nearly) zero counts as 0.01 everywhere; where it is NaN, it
    is unknown and left out. Of a batch that is split over processes, the shares sum to that of the whole batch.

    Explained in: book/err_net.ipynb
    """
    known, part = truth.isfinite(), share(truth)
    truth = truth.nan_to_num()
    size = all_sum(part * truth.square().mean()).clamp(min=1e-4)
    return ((guess - truth).square() * known).mean() / size


def true_motion(batch: Batch) -> Tensor:
    """:func:`motion` of a batch's landmarks; none for neutral faces.

    Raises:
        FerError: if the landmarks are of another scheme.

    Explained in: book/err_net.ipynb
    """
    if batch.landmarks.shape[1] != POINTS:
        raise FerError(f"Landmark residuals need {POINTS} landmarks, not {batch.landmarks.shape[1]}: take landmarks=false.")
    return motion(batch.landmarks, batch.neutral_landmarks) * (batch.label != 0)[:, None, None]
