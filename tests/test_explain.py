"""Grad-CAM has the right form and follows the class; the batch-mean head is the algebra it claims to be."""

from dataclasses import fields

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from fer_lib.data.loader import Batch, Loader
from fer_lib.errors import FerError
from fer_lib.explain import MAPS, add_batch_mean, grad_cam, learning_intensity, reading, settle, share_inside, watched
from fer_lib.methods import METHODS
from fer_lib.methods.baseline import Baseline
from fer_lib.methods.method import Prediction
from fer_lib.nets.backbone import Backbone


class Glass(nn.Module):
    """A recognizer that can be seen through: class 0 is brightness, class 1 darkness."""

    def __init__(self):
        super().__init__()
        self.backbone = nn.Module()
        self.backbone.body = nn.Sequential(nn.Conv2d(3, 2, 1))
        with torch.no_grad():
            self.backbone.body[0].weight.copy_(torch.tensor([1 / 3, -1 / 3])[:, None, None, None].expand(2, 3, 1, 1))
            self.backbone.body[0].bias.copy_(torch.tensor([0.0, 1.0]))

    def forward(self, image):
        maps = self.backbone.body(image)
        return Prediction(maps.mean((2, 3)), [maps])


def test_grad_cam_shows_what_speaks_for_the_class():
    image = torch.zeros(3, 3, 16, 16)
    image[:, :, 4:8, 8:12] = 1
    spot = image[:, :1]
    bright, dark = (grad_cam(Glass(), image, torch.full((3,), k)) for k in (0, 1))
    assert bright.shape == (3, 16, 16) and bright.min() == 0 and 0.99 < bright.max() <= 1
    assert torch.allclose(share_inside(bright, spot), torch.ones(3), atol=1e-3)
    assert torch.allclose(share_inside(dark, spot), torch.zeros(3), atol=1e-3)


def test_grad_cam_of_the_baseline_has_the_images_form(blobs):
    torch.manual_seed(0)
    batch = next(Loader(blobs(4), 4).epoch())
    maps = grad_cam(Baseline(Baseline.Switches(), Backbone("resnet10_narrow", 2), 8), batch.image, batch.label)
    assert maps.shape == (4, 32, 32) and 0 <= maps.min() and maps.max() <= 1


def test_share_inside_by_hand():
    maps, mask = torch.ones(2, 4, 4), torch.zeros(2, 1, 4, 4)
    mask[:, :, :2] = 1
    maps[1, 2:] = 0
    assert share_inside(maps, mask).tolist() == [0.5, 1.0]


def test_batch_mean_of_features_is_batch_mean_of_logits():
    torch.manual_seed(0)
    head, feature = nn.Linear(16, 8), torch.randn(10, 16)
    order = torch.randperm(10)
    expected = torch.empty(10, 8)
    for rows in order.split(4):
        expected[rows] = head(feature[rows] + feature[rows].mean(0))
    logits = head(feature)
    assert torch.allclose(add_batch_mean(logits, order, 4, head.bias), expected, atol=1e-5)
    assert not torch.allclose(add_batch_mean(logits, torch.arange(10), 4, head.bias), expected, atol=1e-2)


def test_batch_of_one_never_changes_a_decision():
    torch.manual_seed(0)
    bias, logits = torch.zeros(8), torch.randn(50, 8)
    assert torch.equal(add_batch_mean(logits, torch.arange(50), 1, bias).argmax(1), logits.argmax(1))


def some_method(name, row="", seed=0):
    torch.manual_seed(seed)
    kind = METHODS[name]
    switches = {k: v for k, v in kind.ROWS.get(row, {}).items() if k in {f.name for f in fields(kind.Switches)}}
    method = kind(kind.Switches(**switches), Backbone("resnet10_narrow", 2, size=32), 8).train()
    points = 32 * torch.rand(6, 68, 2)
    twins = {"neutral": torch.rand(6, 3, 32, 32), "neutral_landmarks": points + 1, "landmarks": points}
    small = torch.rand(6, 3, 8, 8) if name == "sr_fer" else torch.rand(6, 3, 32, 32)
    clean = {"clean": torch.rand(6, 3, 32, 32)} if name in ("ll_fer", "sr_fer") else {}
    return method, Batch(small, torch.arange(6), torch.arange(6), **twins, **clean)


@pytest.mark.parametrize("name", METHODS)
def test_learning_intensity_of_every_method(name):
    method, data = some_method(name)
    found = learning_intensity(method, data)
    assert method.training and all(len(values) == 4 for values in found.values())
    assert min(found["cross-entropy"]) > 0 and min(found["total"]) > 0
    if name == "baseline":
        stages = [maps.detach().requires_grad_() for maps in method.eval().backbone(data.image)]
        logits = method.head(stages[3].mean((2, 3)))
        pull = torch.autograd.grad(F.cross_entropy(logits, data.label, reduction="sum"), stages[3])[0]
        assert found["total"][3] == pytest.approx(pull.abs().mean().item(), rel=1e-4)
        assert found["total"] == found["cross-entropy"] and min(found["total"]) > 0


@pytest.mark.parametrize(("name", "row"), [("ll_fer", "A6"), ("sr_fer", "S10")])
def test_where_the_recognizer_is_frozen_the_intensity_is_of_what_is_asked_through_it(name, row):
    method, data = some_method(name, row)
    with torch.no_grad():
        for parameter in method.restorer.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    method.calibrated, method.balance = True, method.balance + 1
    found = learning_intensity(method, data)
    assert all(max(found[guide]) > 0 for guide in method.GUIDES if guide in found)
    assert sum(guide in found for guide in method.GUIDES) == 2


@pytest.mark.parametrize(("name", "row"), [("ll_fer", "A0"), ("ll_fer", "A4"), ("sr_fer", "S2")])
def test_a_row_whose_losses_never_reach_the_recognizer_says_so(name, row):
    with pytest.raises(FerError, match=f"No such loss of {name} reaches its recognizer"):
        learning_intensity(*some_method(name, row))
    with pytest.raises(FerError, match="No such loss"):
        learning_intensity(*some_method("baseline"), stage="joint")


LAST = {"baseline": "backbone", "err_net": "encoder", "ll_fer": "recognizer.backbone", "sr_fer": "recognizer.backbone"}


@pytest.mark.parametrize("name", METHODS)
def test_the_layer_of_every_method_is_where_its_answer_is_read_from(name):
    method, _ = some_method(name)
    layers = watched(method)
    if name == "clcl":
        assert layers == [method.head.body]
    elif name == "lnl":
        assert layers == [method.backbone.body["layer4"], method.map.mix[-1]]
    else:
        assert layers == [method.get_submodule(LAST[name]).body["layer4"]]


@pytest.mark.parametrize(("name", "row"), [("clcl", "B0"), ("lnl", "N0")])
def test_without_parts_of_its_own_a_methods_layer_is_the_baselines(name, row):
    method, _ = some_method(name, row)
    assert watched(method) == [method.backbone.body["layer4"]]


def test_a_network_without_a_known_layer_says_so():
    with pytest.raises(FerError, match="Linear has no backbone"):
        watched(nn.Linear(2, 2))


@pytest.mark.parametrize("name", METHODS)
def test_a_map_of_every_method_changes_with_its_weights(name):
    method, data = some_method(name)
    recognizer, picture = reading(method, data.image)
    assert picture.shape == (6, 3, 32, 32) and not isinstance(recognizer, type(method)) == hasattr(method, "restorer")
    label = torch.full((6,), 3)
    own = grad_cam(recognizer, picture, label, "LayerCAM")
    assert own.shape == (6, 32, 32) and 0 <= own.min() and own.max() <= 1
    with torch.no_grad():
        for parameter in recognizer.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.1)
    assert not torch.allclose(own, grad_cam(recognizer, picture, label, "LayerCAM"), atol=0.05)


def test_after_a_mean_hirescam_is_grad_cam_and_after_weights_of_places_it_is_not():
    for name, same in (("baseline", True), ("clcl", False)):
        method, data = some_method(name)
        first, second = (grad_cam(method, data.image, data.label, kind) for kind in ("Grad-CAM", "HiResCAM"))
        assert torch.allclose(first, second, atol=1e-4) == same
    with pytest.raises(FerError, match="There is no map 'CAM': choose one of " + ", ".join(MAPS)):
        grad_cam(method, data.image, data.label, "CAM")


def test_grad_cam_at_the_head_of_clcl_knows_two_maps_at_most():
    method, data = some_method("clcl")
    maps = grad_cam(method, data.image[:1].expand(8, -1, -1, -1), torch.arange(8))
    assert len(torch.unique((maps.flatten(1) * 100).round(), dim=0)) <= 2


def test_a_frozen_network_has_maps_too():
    method, data = some_method("baseline")
    own = grad_cam(method, data.image, data.label)
    assert torch.equal(own, grad_cam(method.requires_grad_(False), data.image, data.label))


def test_settled_norms_have_the_means_of_the_batches_and_nothing_is_learned():
    torch.manual_seed(0)
    method = Baseline(Baseline.Switches(), Backbone("resnet10_narrow", 2, size=32), 8)
    norm = next(m for m in method.modules() if isinstance(m, nn.BatchNorm2d))
    weights, momentum, seen = {name: x.clone() for name, x in method.named_parameters()}, norm.momentum, []
    hook = norm.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0].detach()))
    batches = [Batch(scale * torch.rand(6, 3, 32, 32), torch.zeros(6, dtype=torch.int64), torch.arange(6)) for scale in (0.2, 1.0)]
    settle(method.eval(), batches)
    hook.remove()
    assert len(seen) == 2 and torch.allclose(norm.running_mean, torch.stack([x.mean((0, 2, 3)) for x in seen]).mean(0), atol=1e-5)
    assert torch.allclose(norm.running_var, torch.stack([x.transpose(0, 1).flatten(1).var(1) for x in seen]).mean(0), rtol=1e-3)
    assert norm.momentum == momentum and not method.training
    assert all(torch.equal(x, weights[name]) for name, x in method.named_parameters())


def test_a_fresh_network_is_measured_as_it_trains_once_its_norms_are_settled():
    """Batch norm of 0 and 1 makes the gradient at a fresh network's shallow stages many times too small or too large."""
    torch.manual_seed(0)
    method = Baseline(Baseline.Switches(), Backbone("resnet10_narrow", 2, size=32), 8)
    batch = Batch(torch.rand(16, 3, 32, 32), torch.arange(16) % 8, torch.arange(16), target=F.one_hot(torch.arange(16) % 8, 8).float())
    held = []
    hook = method.backbone.register_forward_hook(lambda module, inputs, maps: held.append(maps))
    value = method.train().losses(batch, "train", "all")["cross-entropy"].value
    hook.remove()
    trained = 16 * torch.autograd.grad(value, held[0][0])[0].abs().mean().item()
    fresh = learning_intensity(method, batch)["cross-entropy"][0]
    settle(method, [batch])
    settled = learning_intensity(method, batch)["cross-entropy"][0]
    assert abs(settled / trained - 1) < 0.25 < abs(fresh / trained - 1)
