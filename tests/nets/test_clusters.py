"""k-means against NumPy, and the same for a set alone as among others."""

import numpy as np
import torch

from fer_lib.nets.clusters import cluster_means, kmeans, nearest


def clouds(sets=5, count=40, seed=0):
    generator = torch.Generator().manual_seed(seed)
    middles = 6 * torch.randn(sets, 4, 1, 3, generator=generator)
    return (middles + torch.randn(sets, 4, count // 4, 3, generator=generator)).flatten(1, 2)


def lloyd(points, k, iterations=20, seed=0):
    """k-means of one set by the book, in float64."""
    draws = torch.rand(k, generator=torch.Generator().manual_seed(seed)).numpy()
    centroids = [points[int(draws[0] * len(points))]]
    for draw in draws[1:]:
        apart = np.min([((points - c) ** 2).sum(1) for c in centroids], 0)
        centroids.append(points[min(np.searchsorted(apart.cumsum(), draw * apart.sum(), side="right"), len(points) - 1)])
    centroids = np.array(centroids)
    for _ in range(iterations):
        own = ((points[:, None] - centroids) ** 2).sum(2).argmin(1)
        centroids = np.array([points[own == c].mean(0) if (own == c).any() else centroids[c] for c in range(k)])
    return centroids, ((points[:, None] - centroids) ** 2).sum(2).argmin(1)


def test_it_equals_numpy():
    for k in (2, 4, 7):
        points = clouds(seed=k)
        centroids, own = kmeans(points, k)
        for g in range(len(points)):
            expected, members = lloyd(points[g].double().numpy(), k)
            assert np.allclose(centroids[g], expected, atol=1e-4) and np.array_equal(own[g], members)


def test_it_equals_numpy_where_the_rounds_move_many_points():
    """A cloud without gaps: its clusters are still changing in the last rounds, so a round more or less is another answer."""
    points = torch.randn(2, 2000, 6, generator=torch.Generator().manual_seed(0))
    centroids, own = kmeans(points, 12)
    for g in range(len(points)):
        expected, members = lloyd(points[g].double().numpy(), 12)
        assert np.allclose(centroids[g], expected, atol=1e-4) and np.array_equal(own[g], members)
        for rounds in (19, 21):
            assert not np.allclose(expected, lloyd(points[g].double().numpy(), 12, rounds)[0], atol=1e-3)


def test_it_is_deterministic_and_the_same_one_by_one():
    points = clouds()
    torch.manual_seed(1)
    centroids, own = kmeans(points, 4)
    torch.manual_seed(2)
    again = kmeans(points, 4)
    assert torch.equal(centroids, again[0]) and torch.equal(own, again[1])
    for g in range(len(points)):
        alone = kmeans(points[g : g + 1], 4)
        assert torch.equal(alone[0][0], centroids[g]) and torch.equal(alone[1][0], own[g])


def test_it_finds_four_clouds_far_apart():
    points = clouds() + 100 * torch.arange(4).repeat_interleave(10)[None, :, None]
    own = kmeans(points, 4)[1]
    assert all(len(group.unique()) == 1 for row in own for group in row.split(10))
    assert all(len(row.unique()) == 4 for row in own)


def test_equal_points_and_missing_clusters_do_no_harm():
    centroids, own = kmeans(torch.ones(2, 5, 3), 3)
    assert torch.equal(centroids, torch.ones(2, 3, 3)) and torch.equal(own, torch.zeros(2, 5, dtype=torch.int64))
    means, counts = cluster_means(torch.tensor([[[1.0], [3.0], [8.0]]]), torch.tensor([[0, 0, 2]]), 3)
    assert means.flatten().tolist() == [2, 0, 8] and counts.tolist() == [[2, 0, 1]]


def test_nearest_goes_by_angle():
    points, centroids = torch.tensor([[[9.0, 1.0], [0.1, 0.2]]]), torch.tensor([[[1.0, 0.0], [0.0, 100.0]]])
    assert nearest(points, centroids).tolist() == [[0, 1]]


def test_no_gradient_flows_through_k_means_and_one_does_through_means():
    points = clouds(1).requires_grad_()
    centroids, own = kmeans(points, 3)
    assert not centroids.requires_grad
    cluster_means(points, own, 3)[0].sum().backward()
    assert points.grad.abs().sum() > 0
