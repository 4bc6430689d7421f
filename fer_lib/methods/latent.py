"""The contrast of CLCL: what a stage says of a channel or of a face, and how a shallow stage is led to the deep one."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from fer_lib.nets.clusters import cluster_means, cosines, kmeans, nearest

VARIANTS = ("repaired", "release", "infonce")
TEMPERATURE = 0.1


def position_code(stage: Tensor, side: int, temperature: float = TEMPERATURE) -> Tensor:
    r"""Where a channel fires: mean place and spread, by a soft argmax, all differentiable.

    Each channel is pooled to ``side`` x ``side`` places, standardized, and made a distribution over
    them, :math:`p = \operatorname{softmax}(F_c/\tau)`; its mean and standard deviation are the code.

    Shapes:
        (B, C, H, W) -> float32 (B, C, 4): x, y, deviation of x, of y; x and y from -1 to 1.

    Explained in: book/clcl.ipynb
    """
    x = F.adaptive_avg_pool2d(stage.float(), side).flatten(2)  # (B, C, side * side)
    # A deviation far below 0.1 is no position: without the floor such channels would have all the gradient.
    x = (x - x.mean(2, keepdim=True)) / (x.var(2, keepdim=True, correction=0) + 0.01).sqrt()
    share = (x / temperature).softmax(2)[..., None]
    line = torch.linspace(-1, 1, side, device=x.device)
    grid = torch.stack(torch.meshgrid(line, line, indexing="xy"), -1).flatten(0, 1)  # (side * side, 2): x, y
    mean = (share * grid).sum(2)
    spread = ((share * (grid - mean[:, :, None]).square()).sum(2) + 1e-4).sqrt()
    return torch.cat([mean, spread], 2)


def hash_code(stage: Tensor) -> Tensor:
    """The release's code of a channel: row and column of its two largest cells of 3 x 3 places.

    Kept with its faults: every width is taken for 8 cells, and numbers of cells have no gradient.
    A map of fewer than two cells a side gives its places instead.

    Shapes:
        (B, C, H, W) -> float32 (B, C, 4).

    Explained in: book/clcl.ipynb
    """
    cells = F.avg_pool2d(stage.float(), 3) if min(stage.shape[-2:]) >= 6 else stage.float()
    index = cells.flatten(2).topk(2, dim=2).indices
    return torch.stack([index // 8, index % 8], 3).flatten(2).float()


class Anchors(NamedTuple):
    """The clusters of the deep stage.

    Attributes:
        centroids: float32 (G, k, D), without gradient.
        own: int64 (G, N), the clusters of the deep stage's members.
        filled: bool (G, k), whether a cluster has a member.

    Explained in: book/clcl.ipynb
    """

    centroids: Tensor
    own: Tensor
    filled: Tensor


def centre(code: Tensor) -> Tensor:
    """Codes (G, N, D) less the mean of their set: what all have in common aligns nothing.

    Explained in: book/clcl.ipynb
    """
    return code - code.mean(1, keepdim=True)


def find_anchors(deep: Tensor, k: int, label: Tensor | None = None) -> Anchors:
    """Clusters of the deep codes (G, N, D): by k-means, or the classes ``label`` int64 (G, N) themselves.

    Explained in: book/clcl.ipynb
    """
    deep = deep.detach().float()
    centroids, own = kmeans(deep, k) if label is None else (cluster_means(deep, label, k)[0], label)
    return Anchors(centroids, own, F.one_hot(own, k).sum(1) > 0)


def find_members(shallow: Tensor, anchors: Anchors, label: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Mean of the shallow codes (G, N, D) that belong to each deep cluster, and whether there is any.

    Explained in: book/clcl.ipynb
    """
    own = nearest(shallow.detach().float(), anchors.centroids) if label is None else label
    means, counts = cluster_means(shallow.float(), own, anchors.centroids.shape[1])
    return means, counts > 0


def cluster_loss(means: Tensor, filled: Tensor, anchors: Anchors, variant: str = "repaired", axis: int = 2) -> Tensor:
    r"""How badly shallow cluster means :math:`m_k` agree with deep centroids :math:`c_k`.

    .. math:: -\frac1{2|S|}\sum_{k\in S} \cos(m_k, c_k), \qquad
              -\frac1{|S|}\sum_{k\in S}\log\frac{e^{\cos(m_k,c_k)/\tau}}{\sum_l e^{\cos(m_k,c_l)/\tau}}

    the first for ``repaired`` and ``release``, the second for ``infonce`` [oord2018representation],
    :math:`\tau=0.1`. S are the clusters with a shallow member (for ``infonce`` with a deep one, too, as all l); in
    ``release`` an empty one takes the centroid for its mean, and earns -1/2 for nothing.

    Args:
        means: (G, K, D); filled: bool (G, K).
        axis: along which the release takes the cosine: 2 is the code, 1 the clusters, as its code does for channels.

    Returns:
        A scalar: from -1/2 (all agree) to 1/2; for ``infonce`` not negative.

    Explained in: book/clcl.ipynb
    """
    if variant == "release":
        means = torch.where(filled[..., None], means, anchors.centroids)
        return -F.cosine_similarity(means, anchors.centroids, dim=axis).mean() / 2
    if variant == "infonce":
        filled = filled & anchors.filled
        table = (cosines(means, anchors.centroids) / TEMPERATURE).masked_fill(~anchors.filled[:, None], -1e4)  # (G, K, K)
        each = -table.log_softmax(2).diagonal(dim1=1, dim2=2)
    else:
        each = -F.cosine_similarity(means, anchors.centroids, dim=2) / 2
    return (each * filled).sum() / filled.sum().clamp(min=1)


def strangers(anchors: Anchors) -> Anchors:
    """For each of the G sets the anchors of another: that half of all sets further on, where another person stands.

    Explained in: book/clcl.ipynb
    """
    return Anchors(*(x.roll(len(x) // 2, 0) for x in anchors))


@torch.no_grad()
def alignment(shallow: Tensor, anchors: Anchors) -> dict[str, Tensor]:
    """How well shallow cluster means agree with deep centroids, by the cosine of centred codes.

    Args:
        shallow: (G, N, D); anchors: of centred deep codes.

    Returns:
        For each set, float32 (G,): ``own``, mean cosine with the centroid whose cluster it is; ``shuffled``, with the
        other centroids of the set; ``stranger``, with the nearest centroids of another set, see :func:`strangers` (as
        for ``own``, members found anew); ``filled``, the share of deep clusters with a shallow member.

    Explained in: book/clcl.ipynb
    """
    k = anchors.centroids.shape[1]
    strange = strangers(anchors)
    (means, filled), other = (find_members(centre(shallow), found) for found in (anchors, strange))
    table = cosines(means, anchors.centroids)
    number = filled.sum(1).clamp(min=1)
    own = (table.diagonal(dim1=1, dim2=2) * filled).sum(1) / number
    every = (table.mean(2) * filled).sum(1) / number
    stranger = (F.cosine_similarity(other[0], strange.centroids, dim=2) * other[1]).sum(1)
    return {
        "own": own,
        "shuffled": (k * every - own) / (k - 1),
        "stranger": stranger / other[1].sum(1).clamp(min=1),
        "filled": filled.float().mean(1),
    }
