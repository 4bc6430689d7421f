"""Measurements on a network's stages: what can be read from them, how hard they are pulled, what their channels are."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from fer_lib.methods.method import Term

# Landmarks of a part of the face, in the order of iBUG 300-W.
PARTS = {
    "outline": range(17),
    "brows": range(17, 27),
    "nose": range(27, 36),
    "eyes": range(36, 48),
    "mouth": range(48, 68),
}


def linear_probe(features: Tensor, labels: Tensor, people: Tensor | None = None) -> float:
    """Accuracy of a logistic regression on the features [alain2017understanding]: what a linear layer could read.

    The faces are cut into two halves, no person in both; the regression fitted on one half names the faces
    of the other, and the other way round.

    Args:
        features: (N, D); labels: int64 (N,); people: int64 (N,), or ``None``: every face its own.

    Returns:
        Mean accuracy of both halves, 0-1.

    Explained in: book/clcl.ipynb
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GroupKFold, cross_val_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    people = torch.arange(len(labels)) if people is None else people
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=300))
    halves = GroupKFold(2, shuffle=True, random_state=0)
    return float(np.mean(cross_val_score(model, features.numpy(), labels.numpy(), groups=people.numpy(), cv=halves)))


def effective_rank(codes: Tensor) -> Tensor:
    r"""In how many directions the codes of a set differ [roy2007effective]: :math:`e^{H(\sigma/\sum\sigma)}`.

    :math:`\sigma` are the singular values of the centred codes, H is the entropy. 1: all on one line; D: as much
    in each of the D directions. Codes that are all the same give 0.

    Shapes:
        (G, N, D) -> float32 (G,).

    Explained in: book/clcl.ipynb
    """
    values = torch.linalg.svdvals((codes - codes.mean(1, keepdim=True)).float())
    total = values.sum(1)
    share = values / total.clamp(min=1e-12)[:, None]
    return torch.where(total > 1e-6 * codes.float().norm(dim=(1, 2)), torch.exp(-torch.xlogy(share, share).sum(1)), 0.0)


def gradient_size(loss: Tensor, stages: list[Tensor]) -> list[float]:
    r"""Mean of :math:`|\partial\mathcal L/\partial f_j|` over each stage map, times the faces in the batch.

    A loss is a mean over its batch; times their number the figure is that of one face, whatever the batch.

    Returns:
        One number a stage, 0 where the loss does not reach it. The graph is kept.

    Explained in: book/clcl.ipynb
    """
    if not loss.requires_grad:
        return [0.0] * len(stages)
    pulls = torch.autograd.grad(loss, stages, retain_graph=True, allow_unused=True)
    return [0.0 if g is None else len(g) * g.float().abs().mean().item() for g in pulls]


def gradient_sizes(terms: dict[str, Term], stages: list[Tensor]) -> dict[str, list[float]]:
    """:func:`gradient_size` of each weighted term of a loss by its name, and of their sum as ``total``.

    Explained in: book/clcl.ipynb
    """
    weighted = {name: term.weight * term.value for name, term in terms.items()}
    return {name: gradient_size(loss, stages) for name, loss in {"total": sum(weighted.values()), **weighted}.items()}


def part_map(landmarks: Tensor, size: int, side: int) -> Tensor:
    """Which part of the face each place of a map belongs to: that of the nearest landmark.

    Args:
        landmarks: (B, 68, 2) in pixels of an image of ``size``; side: of the map.

    Returns:
        int64 (B, side * side), numbers of ``PARTS``.

    Explained in: book/clcl.ipynb
    """
    line = (torch.arange(side, device=landmarks.device) + 0.5) * size / side - 0.5
    places = torch.stack(torch.meshgrid(line, line, indexing="xy"), -1).flatten(0, 1)
    owner = torch.repeat_interleave(torch.arange(len(PARTS)), torch.tensor([len(r) for r in PARTS.values()]))
    return owner.to(landmarks.device)[torch.cdist(places.expand(len(landmarks), -1, -1), landmarks).argmin(2)]


def channel_parts(stage: Tensor, parts: Tensor) -> Tensor:
    """The part of the face at which each channel is strongest.

    Shapes:
        stage (B, C, H, W), parts int64 (B, H * W) -> int64 (B, C).

    Explained in: book/clcl.ipynb
    """
    return parts.gather(1, stage.flatten(2).argmax(2))


def rand_index(first: Tensor, second: Tensor) -> Tensor:
    """Adjusted Rand index of two partitions [hubert1985comparing], in each of G sets by itself.

    1: the same partition; 0: as alike as chance would have it on average. Sets in which both
    partitions are one single group give NaN.

    Shapes:
        two of int64 (G, N) -> float64 (G,).

    Explained in: book/clcl.ipynb
    """
    one, other = (F.one_hot(x).double() for x in (first, second))

    def pairs(count: Tensor) -> Tensor:
        return (count * (count - 1) / 2).flatten(1).sum(1)

    both = pairs(one.transpose(1, 2) @ other)
    left, right = pairs(one.sum(1)), pairs(other.sum(1))
    expected = left * right / (first.shape[1] * (first.shape[1] - 1) / 2)
    return (both - expected) / ((left + right) / 2 - expected)
