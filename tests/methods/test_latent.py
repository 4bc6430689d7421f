"""Codes and contrasts by hand: agreement, right angles, an empty cluster, and which side is pulled."""

import pytest
import torch

from fer_lib.data.faces import make_faces
from fer_lib.methods.latent import (
    VARIANTS,
    Anchors,
    alignment,
    centre,
    cluster_loss,
    find_anchors,
    find_members,
    hash_code,
    position_code,
    strangers,
)

FULL = torch.ones(1, 2, dtype=torch.bool)


def anchors(rows):
    return Anchors(torch.tensor([rows]), torch.tensor([[0, 1]]), FULL)


def test_position_code_of_one_spot():
    stage = torch.zeros(1, 2, 5, 5)
    stage[0, 0, 4, 0] = 9.0  # bottom left
    x, y, dx, dy = position_code(stage, 5)[0, 0].tolist()
    assert (x, y) == (pytest.approx(-1, abs=1e-3), pytest.approx(1, abs=1e-3)) and max(dx, dy) < 0.02
    flat = position_code(stage, 5)[0, 1]
    spread = torch.linspace(-1, 1, 5).square().mean().sqrt()
    assert torch.allclose(flat, torch.tensor([0.0, 0.0, spread, spread]), atol=1e-3)


def test_position_code_has_a_gradient_and_moves_with_the_spot():
    stage = torch.randn(2, 3, 8, 8, requires_grad=True)
    position_code(stage, 4).sum().backward()
    assert stage.grad.isfinite().all() and stage.grad.abs().sum() > 0
    spot = torch.zeros(1, 1, 8, 8)
    spot[..., 2:4, 2:4] = 9
    left, right = position_code(spot, 4), position_code(spot.roll(4, 3), 4)
    assert right[0, 0, 0] - left[0, 0, 0] == pytest.approx(4 / 3, abs=1e-2)
    assert torch.allclose(left[0, 0, 1:], right[0, 0, 1:], atol=1e-2)


def test_a_channel_that_hardly_varies_has_no_strong_pull():
    for amount in (1.0, 1e-3, 1e-6):
        stage = (amount * torch.randn(1, 4, 4, 4, generator=torch.Generator().manual_seed(0))).requires_grad_()
        position_code(stage, 4)[..., :2].sum().backward()
        assert stage.grad.abs().max() < 100


def test_hash_code_by_hand_and_without_gradient():
    stage = torch.zeros(1, 1, 56, 56, requires_grad=True)
    with torch.no_grad():
        stage[0, 0, 3:6, 0:3], stage[0, 0, 0:3, 27:30] = 2.0, 1.0  # cells (1, 0) and (0, 9) of 18 a side
    code = hash_code(stage)
    assert code.tolist() == [[[18 // 8, 18 % 8, 9 // 8, 9 % 8]]] and not code.requires_grad
    assert hash_code(torch.rand(1, 2, 7, 7))[..., [0, 2]].tolist() == [[[0, 0], [0, 0]]]  # four cells, all in "row 0"


@pytest.mark.parametrize(
    "means, expected",
    [
        ([[2.0, 0.0], [0.0, 3.0]], -0.5),
        ([[0.0, 1.0], [1.0, 0.0]], 0.0),
        ([[-1.0, 0.0], [0.0, -1.0]], 0.5),
        ([[1.0, 1.0], [0.0, 5.0]], -(0.5**0.5 + 1) / 4),
    ],
)
def test_half_the_negative_cosine(means, expected):
    target = anchors([[1.0, 0.0], [0.0, 1.0]])
    for variant in ("repaired", "release"):
        assert cluster_loss(torch.tensor([means]), FULL, target, variant).item() == pytest.approx(expected, abs=1e-6)


def test_an_empty_cluster_is_skipped_and_in_the_release_rewarded():
    target, means = anchors([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([[[0.0, 1.0], [0.0, 0.0]]])
    filled = torch.tensor([[True, False]])
    assert cluster_loss(means, filled, target).item() == pytest.approx(0, abs=1e-6)
    assert cluster_loss(means, filled, target, "release").item() == pytest.approx(-0.25)
    assert cluster_loss(means, ~FULL, target).item() == 0
    # Half of the cosine's mean over the one filled cluster, not over both.
    assert cluster_loss(means.flip(2), filled, target).item() == pytest.approx(-0.5)


def test_the_release_takes_the_cosine_of_channels_along_the_clusters():
    target, means = anchors([[1.0, 3.0], [2.0, 1.0]]), torch.tensor([[[2.0, 0.0], [4.0, 1.0]]])
    by_hand = -(1.0 + 1 / 10**0.5) / 4  # columns (2, 4) with (1, 2), and (0, 1) with (3, 1)
    assert cluster_loss(means, FULL, target, "release", axis=1).item() == pytest.approx(by_hand, abs=1e-6)


def test_infonce_by_hand():
    target = anchors([[1.0, 0.0], [0.0, 1.0]])
    right = cluster_loss(torch.tensor([[[1.0, 0.0], [0.0, 1.0]]]), FULL, target, "infonce").item()
    wrong = cluster_loss(torch.tensor([[[0.0, 1.0], [1.0, 0.0]]]), FULL, target, "infonce").item()
    assert right == pytest.approx(torch.log1p(torch.tensor(-10.0).exp()).item(), abs=1e-6)
    assert wrong == pytest.approx(10, abs=1e-3)
    absent = target._replace(filled=torch.tensor([[True, False]]))
    one = torch.tensor([[[0.5, 0.5], [0.0, 0.0]]])
    assert cluster_loss(one, absent.filled, absent, "infonce").item() == pytest.approx(0, abs=1e-6)
    # A shallow member in a cluster without a deep one has no centroid to be led to.
    assert cluster_loss(one.flip(1), ~absent.filled, absent, "infonce").item() == 0


@pytest.mark.parametrize("by_label", [False, True])
@pytest.mark.parametrize("variant", VARIANTS)
def test_the_shallow_side_is_pulled_and_the_deep_side_is_not(variant, by_label):
    torch.manual_seed(0)
    shallow, deep = torch.randn(2, 12, 4, requires_grad=True), torch.randn(2, 12, 4, requires_grad=True)
    label = torch.arange(12).remainder(3).expand(2, -1) if by_label else None
    found = find_anchors(deep, 3, label)
    loss = cluster_loss(*find_members(shallow, found, label), found, variant)
    pulls = torch.autograd.grad(loss, [shallow, deep], allow_unused=True)
    assert pulls[0].abs().sum() > 0 and pulls[1] is None


def test_a_shallow_code_goes_to_the_centroid_at_the_smallest_angle():
    """Not to the nearest in space, and each code by its own angle, however long it is."""
    anchors = Anchors(torch.tensor([[[10.0, 0.0], [0.0, 1.0]]]), torch.zeros(1, 2, dtype=torch.long), torch.ones(1, 2, dtype=torch.bool))
    means, filled = find_members(torch.tensor([[[1.0, 0.5], [0.5, 8.0]]]), anchors)
    assert means.tolist() == [[[1.0, 0.5], [0.5, 8.0]]] and filled.all()  # (1, 0.5) is nearer to (0, 1) in space


def test_labels_in_place_of_k_means():
    deep, label = torch.tensor([[[1.0, 0.0], [3.0, 0.0], [0.0, 2.0]]]), torch.tensor([[0, 0, 2]])
    found = find_anchors(deep, 4, label)
    assert found.centroids[0, 0].tolist() == [2, 0] and found.filled.tolist() == [[True, False, True, False]]
    means, filled = find_members(-deep, found, label)
    assert cluster_loss(means, filled, found).item() == pytest.approx(0.5)


def test_alignment_with_itself_with_others_and_with_strangers():
    deep = centre(torch.randn(3, 20, 5, generator=torch.Generator().manual_seed(0)))
    seen = alignment(deep, find_anchors(deep, 4))
    assert (seen["own"] > 0.8).all() and (seen["own"] > seen["shuffled"] + 0.5).all()
    assert (seen["stranger"] < seen["own"] - 0.1).all() and (seen["filled"] == 1).all()
    assert (centre(deep + 7) - deep).abs().max() < 1e-5


def test_alignment_by_hand():
    """Two sets, each the other's stranger, with the same two directions in another order."""
    a, b = [0.5, 0.75**0.5], [-1.0, 0.0]
    anchors = Anchors(torch.tensor([[a, b], [b, a]]), torch.zeros(2, 2, dtype=torch.long), torch.ones(2, 2, dtype=torch.bool))
    seen = alignment(torch.tensor([[[1.0, 0.0], [-1.0, 0.0]]] * 2), anchors)
    # (1, 0) is nearest to a, with cosine 1/2; (-1, 0) to b, with cosine 1. Crosswise: -1 and -1/2.
    assert seen["own"].tolist() == pytest.approx([0.75, 0.75]) and seen["shuffled"].tolist() == pytest.approx([-0.75, -0.75])
    assert seen["stranger"].tolist() == pytest.approx([0.75, 0.75])  # who chooses anew among a stranger's finds the same


def test_alignment_centres_the_shallow_codes_itself():
    """What all things of a set share says nothing of a cluster, and may not pass for agreement."""
    generator = torch.Generator().manual_seed(0)
    shallow, deep = torch.randn(3, 20, 5, generator=generator), centre(torch.randn(3, 20, 5, generator=generator))
    anchors = find_anchors(deep, 4)
    seen, moved = alignment(shallow, anchors), alignment(shallow + 7, anchors)
    assert all(torch.allclose(seen[kind], moved[kind], atol=1e-4) for kind in ("own", "shuffled", "stranger"))


def test_a_stranger_is_another_person():
    """Drawn faces stand in the list person by person."""
    people = make_faces(64, "test", size=32).subjects
    assert (people == people.roll(1)).float().mean() > 0.5
    deep = Anchors(people[:, None, None].float(), people[:, None], torch.ones(64, 1, dtype=bool))
    assert (strangers(deep).own[:, 0] != people).all()
