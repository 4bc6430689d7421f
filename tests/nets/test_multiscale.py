"""The published shapes, the weights of scales, and a head whose answer may or may not depend on the batch."""

import pytest
import torch

from fer_lib.errors import FerError
from fer_lib.nets.backbone import Backbone
from fer_lib.nets.multiscale import MapHead, MultiScale


def test_at_224_pixels_the_layers_are_the_published_ones():
    layers = MultiScale(Backbone("resnet18", size=224), 128, "gate").convs
    assert [(c.in_channels, c.kernel_size[0], c.stride[0], c.padding[0]) for c in layers] == [
        (16, 4, 11, 1), (8, 8, 11, 3), (4, 16, 10, 2), (2, 32, 8, 0)
    ]  # fmt: skip


@pytest.mark.parametrize("size, stride", [(48, 2), (64, 2), (112, 4), (100, 4), (224, 4)])
@pytest.mark.parametrize("attention", ["sum", "gate", "softmax"])
def test_every_stage_is_brought_to_one_form(size, stride, attention):
    backbone = Backbone("resnet10_narrow", stride, size=size)
    fused, scales, weights = MultiScale(backbone, 8, attention)(backbone(torch.rand(2, 3, size, size)))
    assert fused.shape == (2, 8, 11, 11) and all(x.shape == fused.shape for x in scales)
    assert torch.allclose(weights.sum(1), torch.full((2,), 4.0 if attention == "sum" else 1.0))
    expected = sum(w[:, None, None, None] * x for w, x in zip(weights.unbind(1), scales, strict=True))
    assert torch.allclose(fused, expected, atol=1e-5)


def test_equal_scores_give_equal_weights_and_looking_at_sizes_leaves_no_trace():
    backbone = Backbone("resnet10_narrow", 2, size=48)
    before = {k: v.clone() for k, v in backbone.state_dict().items()}
    net = MultiScale(backbone, 8, "gate")
    assert backbone.training and all(torch.equal(v, before[k]) for k, v in backbone.state_dict().items())
    for p in net.score[-1].parameters():
        torch.nn.init.zeros_(p)
    assert torch.allclose(net(backbone(torch.rand(2, 3, 48, 48)))[2], torch.full((2, 4), 0.25))


@pytest.mark.parametrize(("attention", "wanted"), [("gate", (0.21, 0.21, 0.21, 0.37)), ("softmax", (0.096, 0.096, 0.096, 0.711))])
def test_scores_become_weights(attention, wanted):
    """Scores 0, 0, 0, 2: by hand, sigmoids of 0.5 and 0.881 over their sum, and 1 and e^2 over theirs."""
    scales = MultiScale(Backbone("resnet10_narrow", 2, size=32), 64, attention).eval()
    given = iter((0.0, 0.0, 0.0, 2.0))
    scales.score.register_forward_hook(lambda _, inputs, out: torch.full_like(out, next(given)))
    stages = [torch.rand(2, c, s, s) for c, s in ((32, 16), (64, 8), (128, 4), (256, 2))]
    fused, each, weights = scales(stages)
    assert torch.allclose(weights, torch.tensor(wanted).expand(2, -1), atol=0.006)
    assert torch.allclose(fused, sum(weights[:, j, None, None, None] * x for j, x in enumerate(each)), atol=1e-5)


def test_a_backbone_that_does_not_fit_is_refused():
    with pytest.raises(FerError, match="give the backbone a size"):
        MultiScale(Backbone("resnet10_narrow", 2), 8, "sum")
    odd = Backbone("resnet10_narrow", 2, size=48)
    odd.channels = [32, 64, 128, 250]
    with pytest.raises(FerError, match="Stage 4 has 250 channels, no multiple of 256"):
        MultiScale(odd, 8, "sum")


@pytest.mark.parametrize("kind", ["off", "on", "running"])
def test_only_the_mean_of_this_batch_makes_a_score_depend_on_it(kind):
    torch.manual_seed(0)
    head = MapHead(6, 8, kind)
    for _ in range(3):
        head.train()(torch.randn(16, 6, 11, 11) + 1)
    x = torch.randn(64, 6, 11, 11)
    with torch.no_grad():
        together, alone = head.eval()(x), torch.cat([head(row[None]) for row in x])
    gap = (together - alone).abs().max()
    assert gap > 0.01 if kind == "on" else gap < 1e-5


def test_the_moving_average_moves_in_training_only():
    torch.manual_seed(0)
    head, x = MapHead(6, 8, "running"), torch.randn(16, 6, 11, 11)
    head.eval()(x)
    assert head.running_map.abs().max() == 0
    mean = head.train().features(x).mean(0)
    head(x)
    assert torch.allclose(head.running_map, 0.1 * mean, atol=1e-6) and mean.abs().max() > 0.01
    head(x)
    assert torch.allclose(head.running_map, 0.19 * mean, atol=1e-6)


def test_with_a_linear_layer_the_mean_map_is_the_mean_score():
    torch.manual_seed(0)
    head, maps = MapHead(6, 8, "on"), torch.randn(10, 121)
    plain = head.linear(maps)
    assert torch.allclose(head.read(maps), plain + plain.mean(0) - head.linear.bias, atol=1e-5)
