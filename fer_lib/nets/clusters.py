"""k-means for many small sets of points at once, and what follows from it: members, means, nearest centroids."""

import torch
import torch.nn.functional as F
from torch import Tensor


@torch.no_grad()
def kmeans(points: Tensor, k: int, iterations: int = 20, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Lloyd's k-means [lloyd1982least] from a k-means++ start [arthur2007kmeans], in each of G sets by itself.

    Every set is given the same draws: its result depends neither on the other sets nor on chance.
    A cluster that loses all its points keeps its centroid. No gradient flows through.

    Args:
        points: (G, N, D), N points in each set; k: clusters; iterations: so many at most; further ones change nothing
            as soon as no centroid moves.
        seed: of the start.

    Returns:
        centroids float32 (G, k, D), and int64 (G, N), the cluster of each point.

    Explained in: book/clcl.ipynb
    """
    points = points.float()
    centroids = _spread_start(points, k, seed)
    for _ in range(iterations):
        means, counts = cluster_means(points, _distances(points, centroids).argmin(2), k)
        moved = torch.where(counts[..., None] > 0, means, centroids)
        # Only on a CPU: a graphics card would have to be waited for.
        if points.device.type == "cpu" and torch.equal(moved, centroids):
            break
        centroids = moved
    return centroids, _distances(points, centroids).argmin(2)


def cluster_means(points: Tensor, own: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Mean of the points of each cluster, 0 for an empty one, and how many they are.

    Shapes:
        points (G, N, D), own int64 (G, N) in 0 .. k-1 -> (G, k, D), float32 (G, k).

    Explained in: book/clcl.ipynb
    """
    member = F.one_hot(own, k).to(points.dtype)  # (G, N, k)
    counts = member.sum(1)
    with torch.autocast(points.device.type, enabled=False):  # mixed precision would round a product to 16 bits
        return member.mT @ points / counts.clamp(min=1)[..., None], counts


def cosines(points: Tensor, centroids: Tensor) -> Tensor:
    """Cosine of the angle between each point and each centroid.

    Shapes:
        points (G, N, D), centroids (G, k, D) -> (G, N, k).

    Explained in: book/clcl.ipynb
    """
    return torch.stack([F.cosine_similarity(points, c[:, None], dim=2) for c in centroids.unbind(1)], 2)


def nearest(points: Tensor, centroids: Tensor) -> Tensor:
    """The centroid at the smallest angle to each point.

    Shapes:
        points (G, N, D), centroids (G, k, D) -> int64 (G, N).

    Explained in: book/clcl.ipynb
    """
    return cosines(points, centroids).argmax(2)


def _distances(points: Tensor, centroids: Tensor) -> Tensor:
    """Squared distances (G, N, k), less the square of each point, which they share."""
    with torch.autocast(points.device.type, enabled=False):
        return centroids.square().sum(2)[:, None] - 2 * points @ centroids.mT


def _spread_start(points: Tensor, k: int, seed: int) -> Tensor:
    """k of the points: the first by lot, each further one with a chance that grows with its squared distance."""
    draws = torch.rand(k, generator=torch.Generator().manual_seed(seed)).tolist()
    rows = torch.arange(len(points), device=points.device)
    chosen = [points[:, int(draws[0] * points.shape[1])]]
    apart = (points - chosen[0][:, None]).square().sum(2)  # (G, N)
    for draw in draws[1:]:
        reach = apart.cumsum(1)
        index = torch.searchsorted(reach, draw * reach[:, -1:], right=True)[:, 0].clamp(max=points.shape[1] - 1)
        chosen.append(points[rows, index])
        apart = torch.minimum(apart, (points - chosen[-1][:, None]).square().sum(2))
    return torch.stack(chosen, 1)
