"""Weights reach the output and learn by the paths they should; the recorded figures are what they say they are."""

import dataclasses

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from pytorch_grad_cam import GradCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from scipy.stats import spearmanr

from fer_lib.data.faces import make_faces
from fer_lib.data.loader import Batch, Loader
from fer_lib.errors import FerError
from fer_lib.methods import METHODS
from fer_lib.methods.lnl import LNL
from fer_lib.methods.regional import _grad_cam, cover, crucial, measure, share_on
from fer_lib.nets.backbone import Backbone
from fer_lib.nets.regions import cut
from fer_lib.recipe import Recipe

ROWS = {row: {k: v for k, v in changes.items() if k not in Recipe.model_fields} for row, changes in LNL.ROWS.items()}
WEIGHTED = [row for row, changes in ROWS.items() if changes.get("attention") != "none"]


def build(row="N4", stir=True, **switches):
    """A row's network; stirred, so that its weights are no longer all 1."""
    torch.manual_seed(0)
    method = LNL(LNL.Switches(**{**ROWS[row], **switches}), Backbone("resnet10_narrow", 2, size=32), 8)
    if stir and method.switches.attention in ("nonlocal", "shuffled"):
        torch.nn.init.normal_(method.weigher.score.weight)
        torch.nn.init.normal_(method.weigher.mix.out.weight)
        torch.nn.init.normal_(method.weigher.mix.theta.weight)
    return method


def batch(count=6):
    torch.manual_seed(1)
    label = torch.arange(count) % 8
    return Batch(torch.rand(count, 3, 32, 32), label, label)


class Logits(torch.nn.Module):
    def __init__(self, method):
        super().__init__()
        self.method = method

    def forward(self, image):
        return self.method(image).logits


@pytest.mark.parametrize("row", [r for r in WEIGHTED if r != "N8-random"])
def test_before_training_all_weights_are_one(row):
    weight = build(row, stir=False)(batch().image).maps["weight"]
    assert torch.allclose(weight, torch.ones_like(weight), atol=1e-6) and (row == "N9" or torch.equal(weight, torch.ones_like(weight)))


@pytest.mark.parametrize("row", ["N4", "N4-post", "N3", "N2"])
def test_the_output_depends_on_every_regions_weight(row):
    method, weight = build(row).train(), torch.ones(16, requires_grad=True)
    slope = torch.autograd.grad(method.see(batch().image, weight.expand(6, 16)).logits.square().sum(), weight)[0]
    assert (slope.abs() > 1e-6).all()


def test_fusion_by_hand():
    method = build("N3").eval()
    seen, image = method.see(batch().image), batch().image
    feature, local = method.local(cut(seen.stages[-1], 4))
    h = torch.einsum("bm,bmd->bd", seen.weight, feature) / 16
    assert torch.allclose(seen.logits, method.head(torch.cat([h, seen.stages[3].mean((2, 3))], 1)), atol=1e-5)
    assert torch.allclose(seen.fused, torch.einsum("bm,bmk->bk", seen.weight, local) / 16, atol=1e-5)
    assert torch.equal(method(image).logits, method.see(image).logits)


@pytest.mark.parametrize("target", [None, torch.rand(6, 8, generator=torch.Generator().manual_seed(2)).softmax(1)])
def test_losses_by_hand(target):
    method, data = build("N4").eval(), dataclasses.replace(batch(), target=target)
    seen, terms = method.see(data.image), method.losses(data, "train", "all")
    each = torch.stack([F.cross_entropy(seen.local[:, m], data.target, reduction="none") for m in range(16)], 1)
    assert torch.allclose(terms["each region"].value, (seen.weight * each).mean(), atol=1e-5)
    assert torch.allclose(terms["fused"].value, F.cross_entropy(seen.fused, data.target), atol=1e-5)
    assert torch.allclose(terms["cross-entropy"].value, F.cross_entropy(seen.logits, data.target), atol=1e-5)
    assert [terms[name].weight for name in ("cross-entropy", "fused", "each region")] == [1.0, 0.2, 0.2]


def test_evenness_is_zero_for_even_weights_and_log_m_for_one_alone():
    data = batch()
    even = build("N4", stir=False, evenness=0.1).losses(data, "train", "all")["evenness"]
    assert even.value.item() == pytest.approx(0, abs=1e-6) and even.weight == 0.1
    alone = build("N4", evenness=0.1)
    torch.nn.init.constant_(alone.weigher.score.weight, 0)
    with torch.no_grad():
        alone.weigher.position[:] = torch.randn_like(alone.weigher.position) * 1e3
        alone.weigher.score.weight[0, 0] = 10.0
    assert alone.losses(data, "train", "all")["evenness"].value.item() == pytest.approx(torch.tensor(16.0).log().item(), abs=1e-3)


@pytest.mark.parametrize("row, learns", [("N4", True), ("N4-post", True), ("N7-stop", False), ("N3", False)])
def test_the_local_losses_teach_the_weights_only_where_they_are_fed_back(row, learns):
    method, data = build(row), batch()
    term = method.losses(data, "train", "all")["each region"].value
    slopes = torch.autograd.grad(term, list(method.weigher.mix.parameters()), allow_unused=True)
    assert (sum(s.abs().sum() for s in slopes if s is not None) > 0) == learns
    whole = method.losses(data, "train", "all")["cross-entropy"].value
    assert torch.autograd.grad(whole, method.weigher.mix.theta.weight)[0].abs().sum() > 0


@pytest.mark.parametrize("row", list(ROWS))
def test_every_parameter_that_a_row_has_learns(row):
    method = build(row).train()
    if row == "N9":
        torch.nn.init.normal_(method.weigher.look.look.weight)
    for norm in (m for m in method.modules() if isinstance(m, torch.nn.BatchNorm2d)):
        torch.nn.init.ones_(norm.weight)  # timm starts some at zero
    terms = method.losses(batch(), "train", "all")
    sum(t.weight * t.value for t in terms.values()).backward()
    silent = {n for n, p in method.named_parameters() if p.grad is None or p.grad.abs().sum() == 0}
    # A softmax does not hear what is added to all its scores.
    deaf = {"weigher.score.bias", "weigher.mix.phi.bias", "weigher.mix.out.bias"}
    if row == "N7-received":
        deaf |= {"weigher.score.weight", "weigher.mix.out.weight", "weigher.mix.g.weight", "weigher.mix.g.bias"}
    assert silent <= deaf, silent - deaf


@pytest.mark.parametrize("row", ["N4", "N4-post", "N7-received", "N9", "N6-overlap"])
def test_a_prediction_does_not_depend_on_its_batch(row):
    method = build(row).train()
    method(torch.rand(8, 3, 32, 32))
    method.eval()
    images = torch.rand(9, 3, 32, 32)
    with torch.inference_mode():
        together = method(images)
        alone = [method(image[None]) for image in images]
    assert (together.logits - torch.cat([a.logits for a in alone])).abs().max() < 1e-5
    # Sixteen times a softmax of large scores: weights of up to 16, with as many times the rounding.
    assert (together.maps["weight"] - torch.cat([a.maps["weight"] for a in alone])).abs().max() < 16e-5


def test_crucial_cells_and_their_share_by_hand():
    mask = torch.zeros(2, 1, 8, 8)
    mask[0, 0, :2, :2], mask[1, 0, 4:, :] = 1, 1
    chosen = crucial(mask, 4)
    assert chosen[0].nonzero().flatten().tolist() == [0] and chosen[1].nonzero().flatten().tolist() == list(range(8, 16))
    weight = torch.ones(2, 16)
    weight[0, 0] = 17
    assert torch.allclose(share_on(weight, chosen), torch.tensor([17 / 32, 0.5]))


def test_covering_paints_one_cell_in_the_mean_colour():
    image = torch.rand(2, 3, 12, 12)
    covered = cover(image, 4, 6)  # row 1, column 2
    assert torch.allclose(covered[:, :, 3:6, 6:9], image.mean((2, 3), keepdim=True).expand(2, 3, 3, 3))
    kept = torch.ones(12, 12, dtype=bool)
    kept[3:6, 6:9] = False
    assert torch.equal(covered[:, :, kept], image[:, :, kept])


def test_grad_cam_is_the_librarys():
    """Its maps come scaled and enlarged; before that, the mean over each cell is ours."""
    method, data = build().eval(), batch()
    last = method.backbone.body.layer4
    with GradCAM(Logits(method), [last]) as cam:
        cam(data.image, [ClassifierOutputTarget(k) for k in data.label.tolist()])
        there = cam.activations_and_grads
        maps = cam.get_cam_image(data.image, last, None, there.activations[0].numpy(), there.gradients[0].numpy(), False)
    cells = F.adaptive_avg_pool2d(torch.from_numpy(maps).clamp(min=0)[:, None], 4).flatten(1)
    cells = cells / cells.mean(1, keepdim=True).clamp(min=1e-12)
    assert cells.max() > 0 and torch.allclose(_grad_cam(method, data)[0], cells, atol=1e-3)


@pytest.mark.parametrize("row", ["N4", "N4-post"])
def test_each_local_network_hears_its_own_weight_where_it_is_fed_back(row):
    method, weight = build(row).eval(), torch.ones(6, 16, requires_grad=True)
    seen = method.see(batch().image, weight)
    for region in (0, 7):
        slope = torch.autograd.grad(seen.local[:, region].square().sum(), weight, retain_graph=True)[0].abs().sum(0)
        assert slope[region] > 1e-6 and slope.sum() == slope[region]
    late = build("N3").eval()
    assert torch.autograd.grad(late.see(batch().image, weight).local.sum(), weight, allow_unused=True)[0] is None


def test_a_weight_after_the_local_network_is_a_factor_of_its_feature_and_before_it_is_not():
    weight = torch.full((6, 16), 3.0)
    for row, same in (("N4-post", True), ("N4", False)):
        method = build(row).eval()
        feature = method.local(cut(method.see(batch().image).stages[-1], 4))[0]
        joined = method.see(batch().image, weight).joined[:, :64]
        assert torch.allclose(joined, (9 * feature).mean(1), atol=1e-4) == same, row


@pytest.mark.parametrize(("row", "learns"), [("N4", True), ("N4-post", True), ("N7-stop", False)])
def test_the_local_answers_teach_the_weights_unless_the_gradient_is_stopped(row, learns):
    method = build(row)
    local = method.see(batch().image).local.square().sum()
    slope = torch.autograd.grad(local, method.weigher.score.weight, allow_unused=True)[0]
    assert (slope is not None and slope.abs().sum() > 0) == learns


def trained_a_little(row="N4"):
    """A network whose answers differ from face to face."""
    method = build(row)
    for name in ("head", "local"):
        for parameter in getattr(method, name).parameters() if hasattr(method, name) else ():
            torch.nn.init.normal_(parameter, std=0.3)
    return method.eval()


def test_the_figures_say_what_they_say(monkeypatch):
    monkeypatch.setattr("fer_lib.methods.regional.COVERED", 24)
    faces, method = make_faces(40, "test", size=32), trained_a_little()
    loader = Loader(faces, 16)
    with torch.no_grad():
        (every,) = Loader(faces, 40).epoch()
        seen, few = method.see(every.image), every.image[:24]
        answers = {name: method.see(every.image, w) for name, w in (("own", seen.weight), ("even", torch.ones(40, 16)), ("mean", seen.weight.mean(0).expand(40, -1)))}
        cells = [method.see(cover(few, 4, cell)) for cell in range(16)]
    right = lambda logits: (logits.argmax(1) == faces.labels[: len(logits)]).float().mean().item()  # noqa: E731
    sure = lambda logits: logits.log_softmax(1).gather(1, faces.labels[: len(logits), None]).mean().item()  # noqa: E731
    found = measure(method, loader)
    assert np.allclose(found["weight"], seen.weight.mean(0), atol=1e-5)
    assert found["largest"] == pytest.approx(seen.weight.amax(1).mean().item(), abs=1e-4) and found["spread"] > 0
    for name, other in answers.items():
        assert found["accuracy"][name] == pytest.approx(right(other.logits))
        assert found["accuracy local"][name] == pytest.approx(right(other.fused))
    mixed = seen.weight.gather(1, torch.rand(40, 16, generator=torch.Generator().manual_seed(0)).argsort(1))
    assert (mixed.sort(1).values == seen.weight.sort(1).values).all() and (mixed != seen.weight).any()
    with torch.no_grad():
        shuffled = method.see(every.image, mixed)
    assert found["accuracy"]["shuffled"] == pytest.approx(right(shuffled.logits)) and found["accuracy local"]["shuffled"] == pytest.approx(right(shuffled.fused))
    assert set(found["accuracy"]) == {"own", "even", "mean", "shuffled"}
    assert np.allclose(found["alone"], [right(seen.local[:, m]) for m in range(16)])
    assert np.allclose(found["lost"], [right(seen.logits[:24]) - right(c.logits) for c in cells], atol=1e-6)
    assert np.allclose(found["faded"], [sure(seen.logits[:24]) - sure(c.logits) for c in cells], atol=1e-4)
    assert np.allclose(found["faded local"], [sure(seen.fused[:24]) - sure(c.fused) for c in cells], atol=1e-4)
    assert np.allclose(found["lost local"], [right(seen.fused[:24]) - right(c.fused) for c in cells], atol=1e-6)
    few_weights = seen.weight[:24].mean(0).numpy()
    orders = {"rank_weight": (few_weights, found["faded"]), "rank_weight_local": (few_weights, found["faded local"]), "rank_alone": (seen.weight.mean(0).numpy(), found["alone"])}
    for name, pair in orders.items():
        assert found[name] == pytest.approx(spearmanr(*pair).statistic, abs=1e-6), name
    joined = seen.joined.clone()
    joined[:, :64] = joined[:, :64].mean(0)
    assert found["deaf"]["regions"] == pytest.approx(right(method.head(joined)))
    joined = seen.joined.clone()
    joined[:, 64:] = joined[:, 64:].mean(0)
    assert found["deaf"]["backbone"] == pytest.approx(right(method.head(joined)))
    assert found["crucial"] == pytest.approx(share_on(seen.weight, crucial(every.mask, 4)).mean().item(), abs=1e-5)
    of_all = sum(torch.tensor(w) * (faces.labels == k).sum() for k, w in enumerate(found["weight_by_emotion"].values()))
    assert torch.allclose(of_all / 40, seen.weight.mean(0), atol=1e-4)


def test_what_a_row_does_not_have_is_not_measured():
    loader = Loader(make_faces(16, "test", size=32), 16)
    plain, even, tokens, over = (measure(trained_a_little(row), loader) for row in ("N0", "N1", "N2", "N6-overlap"))
    assert {"rank_cam", "crucial_cam", "lost"} <= set(plain) and not {"weight", "alone", "accuracy"} & set(plain)
    assert set(even["accuracy"]) == {"own"} and "rank_weight" not in even and even["largest"] == 1
    assert "accuracy local" not in tokens and "faded local" not in tokens and "rank_weight" in tokens
    assert "weight" in over and not {"lost", "cam", "crucial"} & set(over)


def test_each_row_departs_from_the_whole_in_what_its_name_says():
    whole = dataclasses.asdict(LNL.Switches(**ROWS["N4"]))
    expected = {
        "N3": {"feedback": "none"}, "N4-post": {"feedback": "post"}, "N5": {"features": "flat"}, "N6-4": {"side": 2}, "N6-9": {"side": 3},
        "N6-25": {"side": 5}, "N6-overlap": {"overlap": True}, "N7-received": {"weight": "received"}, "N7-stop": {"grad_feedback": False},
        "N8-random": {"attention": "random"}, "N8-shuffled": {"attention": "shuffled"}, "N9": {"attention": "cbam"},
        "N0": {"local": False, "attention": "none", "feedback": "none"}, "N1": {"attention": "none", "feedback": "none"}, "N2": {"local": False, "feedback": "none"},
    }  # fmt: skip
    found = {row: dataclasses.asdict(LNL.Switches(**switches)) for row, switches in ROWS.items()}
    assert LNL.ROWS["N4-all"] == {"train_images": 0, "epochs": 14}
    assert LNL.ROWS["N4-votes"] == {"train_images": 0, **METHODS["baseline"].ROWS["R4"]}
    assert {row: {k: v for k, v in one.items() if v != whole[k]} for row, one in found.items()} == {"N4": {}, "N4-all": {}, "N4-votes": {}, **expected}
    assert whole["features"] == "unet" and whole["feedback"] == "pre" and whole["side"] == 4 and whole["grad_feedback"]


@pytest.mark.parametrize(
    "switches, sentence",
    [
        ({"feedback": "before"}, "feedback cannot be 'before': choose one of pre, post, none"),
        ({"attention": "self"}, "attention cannot be 'self': choose one of nonlocal"),
        ({"side": 1}, "side cannot be 1: at least 2 regions each way"),
    ],
)
def test_refusals(switches, sentence):
    with pytest.raises(FerError, match=sentence):
        LNL.Switches(**switches)
