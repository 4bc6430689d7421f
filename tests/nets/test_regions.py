"""Regions cover the map; grouped networks equal separate ones; the non-local block starts as the identity."""

import importlib.util
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from fer_lib.nets.backbone import Backbone
from fer_lib.nets.regions import FeatureMap, LocalNetworks, NonLocal, SpatialAttention, Weigher, cut

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture(scope="module")
def bench():
    spec = importlib.util.spec_from_file_location("bench_lnl", ROOT / "tools" / "bench_lnl.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_regions_are_the_tiles_of_the_map_row_by_row():
    x = torch.randn(2, 3, 8, 8)
    tiles = F.unfold(x, 2, stride=2).view(2, 3, 2, 2, 16).permute(0, 4, 1, 2, 3)
    assert torch.equal(cut(x, 4), tiles)


@pytest.mark.parametrize("places, side, overlap, size", [(8, 3, False, 3), (32, 5, False, 7), (24, 4, True, 10), (8, 3, True, 4)])
def test_every_place_is_in_a_region_and_neighbours_share_half(places, side, overlap, size):
    x = torch.arange(places * places).float().view(1, 1, places, places)
    regions = cut(x, side, overlap)
    assert regions.shape == (1, side * side, 1, size, size)
    assert set(regions.flatten().tolist()) == set(x.flatten().tolist())
    assert torch.equal(regions[0, 0, 0], x[0, 0, :size, :size]) and torch.equal(regions[0, -1, 0], x[0, 0, -size:, -size:])
    if (places, overlap) == (8, True):
        assert torch.equal(regions[0, 0, 0, :, 2:], regions[0, 1, 0, :, :2])


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("training", [True, False])
def test_grouped_networks_equal_separate_ones(bench, before, training):
    torch.manual_seed(0)
    joined = LocalNetworks(16, 6, 10, 8, before)
    torch.nn.init.normal_(joined.norm.weight)
    torch.nn.init.normal_(joined.norm.running_mean)
    alone = bench.separate(joined)
    x, w = torch.randn(5, 16, 6, 8, 8, requires_grad=True), torch.rand(5, 16, requires_grad=True)
    joined.train(training)
    parts = [one.train(training)(x[:, k : k + 1], w[:, k : k + 1]) for k, one in enumerate(alone)]
    apart = [torch.cat(each, 1) for each in zip(*parts, strict=True)]
    together = joined(x, w)
    for a, b in zip(together, apart, strict=True):
        assert a.shape == b.shape and (a - b).abs().max() < 1e-5
    pulls = [torch.autograd.grad(out[0].square().sum() + out[1].square().sum(), [x, w]) for out in (together, apart)]
    assert all((a - b).abs().max() < 1e-4 * (1 + b.abs().max()) for a, b in zip(*pulls, strict=True))


@pytest.mark.parametrize("before", [True, False])
def test_no_norm_divides_the_weight_out(before):
    """Also not in training, and not when all faces of the batch have the same weight."""
    torch.manual_seed(0)
    local = LocalNetworks(4, 3, 6, 8, before).train()
    x, common = torch.randn(8, 4, 3, 4, 4), torch.ones(4, requires_grad=True)
    features, logits = local(x, common.expand(8, 4))
    for out in (features, logits):
        slope = torch.autograd.grad(out.square().sum(), common, retain_graph=True)[0]
        assert (slope.abs() > 1e-3).all()
    louder = local(x, 2 * torch.ones(8, 4))[0]
    assert all((louder[:, m] - features[:, m]).abs().max() > 1e-3 for m in range(4))


def test_without_biases_weighting_before_and_after_are_the_same():
    torch.manual_seed(0)
    before, after = LocalNetworks(4, 3, 6, 8, True).eval(), LocalNetworks(4, 3, 6, 8, False).eval()
    after.load_state_dict(before.state_dict())
    x, w = torch.randn(2, 4, 3, 4, 4), 3 * torch.rand(2, 4)
    assert (before(x, w)[0] - after(x, w)[0]).abs().max() > 1e-3
    for net in (before, after):
        for layer in (net.second, net.feature):
            torch.nn.init.zeros_(layer.bias)
    assert torch.allclose(before(x, w)[0], after(x, w)[0], atol=1e-6)


def test_non_local_is_the_identity_at_first_and_its_rows_sum_to_one():
    torch.manual_seed(0)
    block, tokens = NonLocal(12), torch.randn(3, 9, 12)
    mixed, affinity = block(tokens)
    assert torch.equal(mixed, tokens) and torch.allclose(affinity.sum(2), torch.ones(3, 9))
    torch.nn.init.normal_(block.out.weight)
    mixed, affinity = block(tokens)
    q, k, v = block.theta(tokens), block.phi(tokens), block.g(tokens)
    expected = tokens + block.out(F.scaled_dot_product_attention(q, k, v))
    assert torch.allclose(mixed, expected, atol=1e-5)


@pytest.mark.parametrize("side", [2, 3, 4, 5])
@pytest.mark.parametrize("attention, weight", [("nonlocal", "pool"), ("nonlocal", "received"), ("shuffled", "pool"), ("cbam", "pool"), ("none", "pool")])
def test_all_weights_are_exactly_one_at_first(attention, weight, side):
    torch.manual_seed(0)
    features = torch.randn(3, 6, 20, 20)
    own, _ = Weigher(attention, weight, side, 6)(cut(features, side), features)
    exact = attention != "cbam"  # there a mean of halves is divided by itself
    assert own.shape == (3, side * side) and (torch.equal(own, torch.ones_like(own)) if exact else torch.allclose(own, torch.ones_like(own)))


@pytest.mark.parametrize("attention, weight", [("nonlocal", "pool"), ("nonlocal", "received"), ("shuffled", "pool"), ("cbam", "pool"), ("random", "pool")])
def test_weights_sum_to_their_number_and_follow_the_image_where_they_should(attention, weight):
    torch.manual_seed(0)
    weigher = Weigher(attention, weight, 4, 6)
    for p in weigher.parameters():
        torch.nn.init.normal_(p)
    features = torch.randn(3, 6, 20, 20)
    own, _ = weigher(cut(features, 4), features)
    assert torch.allclose(own.sum(1), torch.full((3,), 16.0), atol=1e-4) and (own >= 0).all() and own.std() > 0.01
    assert torch.allclose(own[0], own[1]) == (attention == "random")


def test_shuffled_weights_are_the_own_weights_of_other_regions():
    torch.manual_seed(0)
    plain, shuffled = Weigher("nonlocal", "pool", 4, 6), Weigher("shuffled", "pool", 4, 6)
    torch.nn.init.normal_(shuffled.score.weight)
    plain.load_state_dict(shuffled.state_dict())
    features = torch.randn(2, 6, 8, 8)
    a, b = (w(cut(features, 4), features)[0] for w in (plain, shuffled))
    assert torch.equal(a[:, shuffled.order], b) and not torch.allclose(a, b)


def test_a_shuffled_weight_never_stays_with_its_region():
    for seed in range(20):
        torch.manual_seed(seed)
        order = Weigher("shuffled", "pool", 4, 6).order
        assert sorted(order.tolist()) == list(range(16)) and (order != torch.arange(16)).all()


def test_received_attention_is_the_mean_of_the_columns():
    torch.manual_seed(0)
    weigher, features = Weigher("nonlocal", "received", 2, 6), torch.randn(2, 6, 8, 8)
    torch.nn.init.normal_(weigher.mix.theta.weight)
    regions = cut(features, 2)
    affinity = weigher.mix(weigher.norm(regions.mean((3, 4))) + weigher.position)[1]
    assert torch.allclose(weigher(regions, features)[0], affinity.sum(1), atol=1e-6)


def test_cbam_by_hand():
    look = SpatialAttention()
    torch.nn.init.zeros_(look.look.weight)
    look.look.weight.data[0, :, 3, 3] = torch.tensor([1.0, 2.0])
    x = torch.randn(1, 5, 6, 6)
    assert torch.allclose(look(x)[:, 0], (x.mean(1) + 2 * x.amax(1)).sigmoid(), atol=1e-6)


@pytest.mark.parametrize(("stride", "side"), [(2, 16), (4, 16), (1, 32)])
@pytest.mark.parametrize("skips", [True, False])
def test_the_map_has_half_the_images_size_and_any_image_is_brought_to_it_first(skips, stride, side):
    torch.manual_seed(0)
    backbone = Backbone("resnet10_narrow", stride, size=32).eval()
    net = FeatureMap(backbone, 4, skips).eval()
    for image in (torch.rand(2, 1, 64, 64), torch.rand(2, 3, 32, 32), torch.rand(2, 3, 16, 16)):
        assert net(backbone(image), image).shape == (2, 4, side, side)


def test_the_map_sees_the_finer_maps_only_with_skips():
    torch.manual_seed(0)
    backbone, image = Backbone("resnet10_narrow", 4).eval(), torch.rand(2, 3, 32, 32, requires_grad=True)
    for skips in (True, False):
        stages = [x.detach().requires_grad_() for x in backbone(image)]
        asked = FeatureMap(backbone, 4, skips).eval()(stages, image).square().sum()
        slopes = torch.autograd.grad(asked, [*stages, image], allow_unused=True)
        assert [s is not None and s.abs().sum() > 0 for s in slopes] == [skips, skips, skips, True, skips]
