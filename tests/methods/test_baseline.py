"""The baseline's loss against references, its gradients, and its independence of the batch."""

import pytest
import torch
import torch.nn.functional as F

from fer_lib.data.loader import Batch, smooth
from fer_lib.errors import FerError
from fer_lib.methods import METHODS, find_method
from fer_lib.methods.baseline import Baseline, soft_cross_entropy
from fer_lib.nets.backbone import Backbone
from fer_lib.recipe import Recipe


def build():
    torch.manual_seed(0)
    return Baseline(Baseline.Switches(), Backbone("resnet10_narrow", 2), 8)


def batch(target="hard", count=6):
    torch.manual_seed(1)
    label, image = torch.arange(count) % 8, torch.rand(count, 3, 32, 32)
    votes = torch.rand(count, 8).softmax(1)
    return Batch(image, label, label, {"hard": None, "smooth": smooth(label, 8, 0.1), "votes": votes}[target])


def test_soft_cross_entropy_collapses_to_plain():
    logits, label = torch.randn(5, 8), torch.tensor([0, 3, 7, 1, 1])
    for hard in (label, smooth(label, 8, 0.0)):
        assert torch.allclose(soft_cross_entropy(logits, hard), F.cross_entropy(logits, label))
    soft = soft_cross_entropy(logits, smooth(label, 8, 0.1))
    assert torch.allclose(soft, F.cross_entropy(logits, label, label_smoothing=0.1))


def test_soft_cross_entropy_by_hand_and_gradient():
    logits = torch.tensor([[0.0, torch.log(torch.tensor(3.0))]], dtype=torch.double, requires_grad=True)
    target = torch.tensor([[0.5, 0.5]], dtype=torch.double)
    loss = soft_cross_entropy(logits, target)
    assert loss.item() == pytest.approx(-0.5 * (torch.tensor(0.25).log() + torch.tensor(0.75).log()).item())
    loss.backward()
    assert torch.allclose(logits.grad, logits.detach().softmax(1) - target, atol=1e-6)


def test_soft_cross_entropy_is_finite_in_bf16_and_nan_stays_visible():
    assert soft_cross_entropy(torch.tensor([[300.0, -300.0]], dtype=torch.bfloat16), torch.eye(2)[1:]).isfinite()
    assert soft_cross_entropy(torch.tensor([[float("nan"), 0.0]]), torch.eye(2)[1:]).isnan()


@pytest.mark.parametrize("target", ["hard", "smooth", "votes"])
def test_the_term_reaches_every_parameter(target):
    method, data = build(), batch(target)
    for norm in (m for m in method.modules() if isinstance(m, torch.nn.BatchNorm2d)):
        torch.nn.init.ones_(norm.weight)  # timm starts some at zero
    terms = method.losses(data, "train", "all")
    terms["cross-entropy"].value.backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in method.parameters())


def test_targets_differ_as_they_should():
    method, values = build().eval(), {}
    for target in ("hard", "smooth", "votes"):
        data = batch(target)
        values[target] = method.losses(data, "train", "all")["cross-entropy"].value
        logits = method(data.image).logits
    assert torch.allclose(values["hard"], F.cross_entropy(logits, data.label))
    assert torch.allclose(values["smooth"], F.cross_entropy(logits, data.label, label_smoothing=0.1))
    assert torch.allclose(values["votes"], -(data.target * logits.log_softmax(1)).sum(1).mean())


@pytest.mark.parametrize("name", METHODS)
def test_a_prediction_does_not_depend_on_its_batch(name):
    torch.manual_seed(0)
    method = METHODS[name](METHODS[name].Switches(), Backbone("resnet10_narrow", 2, size=48), 8)
    method(torch.rand(8, 3, 48, 48))  # in training mode, so that batch norm has statistics of its own
    method.eval()
    images = torch.rand(64, 3, 48, 48)
    with torch.inference_mode():
        together = method(images).logits
        alone = torch.cat([method(image[None]).logits for image in images])
    assert (together - alone).abs().max() < 1e-5


@pytest.mark.parametrize("name", METHODS)
def test_rows_change_known_parameters_only(name):
    switches = {f for f in METHODS[name].Switches.__dataclass_fields__}
    for row, changes in METHODS[name].ROWS.items():
        assert set(changes) <= switches | set(Recipe.model_fields), row


def test_unknown_method():
    with pytest.raises(FerError, match="There is no method 'basline': choose one of baseline"):
        find_method("basline")
