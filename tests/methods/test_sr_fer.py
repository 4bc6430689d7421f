"""Super-resolvers start as bicubic; consistencies vanish on equal images and pull at the restored one alone."""

import pytest
import torch
import torch.nn.functional as F

from fer_lib.data.degrade import low_resolution, upsample
from fer_lib.data.loader import Batch
from fer_lib.errors import FerError
from fer_lib.methods.sr_fer import NETS, SRFER, SuperResolver, attention_consistency, class_map, prediction_consistency
from fer_lib.nets.backbone import Backbone


def images(count=3, size=32):
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(0))


def labelled(image):
    label = torch.arange(len(image))
    return Batch(image, label, label)


@pytest.mark.parametrize("net", [*NETS, "bicubic"])
@pytest.mark.parametrize("scale, size", [(2, 32), (4, 32), (8, 32), (4, 30), (4, 48)])
def test_it_starts_as_bicubic_at_any_size(net, scale, size):
    small = low_resolution(images(size=size), scale)
    large = SuperResolver(net, scale, size, 8)(small)
    assert large.shape == (3, 3, size, size) and (large - upsample(small, size)).abs().max() < 1e-6


def test_an_image_of_full_size_passes_unchanged():
    assert torch.equal(SuperResolver("edsr_s", 4, 32, 8)(images()), images())


@pytest.mark.parametrize("net", NETS)
def test_the_residual_learns(net):
    torch.manual_seed(0)
    clean, resolver = images(2), SuperResolver(net, 4, 32, 8)
    small, optimizer = low_resolution(clean, 4), torch.optim.AdamW(resolver.parameters(), lr=1e-2)
    first = F.l1_loss(resolver(small), clean).item()
    for _ in range(25):
        loss = F.l1_loss(resolver(small), clean)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.97 * first


def test_class_map_by_hand():
    stage = torch.zeros(1, 2, 2, 2)
    stage[0, 0, 0, 0], stage[0, 1, 1, 1] = 4.0, 2.0
    weight = torch.tensor([[1.0, 0.0], [0.0, -1.0]])
    assert class_map(stage, weight, torch.tensor([0])).tolist() == [[1.0, 0.0, 0.0, 0.0]]
    assert class_map(stage, weight, torch.tensor([1])).tolist() == [[1.0, 1.0, 1.0, 0.0]]


def test_consistencies_vanish_on_equal_images_and_pull_at_the_restored_side_alone():
    backbone, label = Backbone("resnet10_narrow", 2, size=32).eval(), torch.tensor([0, 3, 7])
    weight = torch.randn(8, backbone.channels[-1])
    restored, clean = (images() * 0.8).requires_grad_(), images().requires_grad_()
    ours, theirs = backbone(restored), backbone(clean)
    for which in ("1", "2", "3", "4", "1234"):
        loss = attention_consistency(ours, theirs, weight, label, which)
        assert loss.grad_fn is not None and loss > 0
        pulls = torch.autograd.grad(loss, [restored, clean], retain_graph=True, allow_unused=True)
        assert pulls[0].abs().sum() > 0 and pulls[1] is None
        assert attention_consistency(ours, ours, weight, label, which) == 0
    logits, wanted = torch.randn(4, 8, requires_grad=True), torch.randn(4, 8, requires_grad=True)
    loss = prediction_consistency(logits, wanted)
    p, q = wanted.softmax(1), logits.softmax(1)
    assert loss.item() == pytest.approx((p * (p / q).log()).sum(1).mean().item(), abs=1e-5)
    assert torch.autograd.grad(loss, [logits, wanted], allow_unused=True)[1] is None
    assert prediction_consistency(logits, logits) == 0


def test_prediction_consistency_pulls_at_the_restored_picture_and_not_at_the_original():
    method = SRFER(SRFER.Switches(width=8, attention=0.0), Backbone("resnet10_narrow", 2, size=32), 8).eval()
    restored, clean = images().requires_grad_(), images().flip(3).requires_grad_()
    ((value, _),) = method.guidance(restored, clean, labelled(images())).values()
    pulls = torch.autograd.grad(value, [restored, clean], allow_unused=True)
    assert pulls[0].abs().sum() > 0 and pulls[1] is None


def test_the_pixel_loss_is_zero_on_equal_pictures_and_the_mean_absolute_difference_else():
    method = SRFER(SRFER.Switches(width=8), Backbone("resnet10_narrow", 2, size=32), 8)
    loss = [method.reconstruction(x, images(), images())["pixels"].value.item() for x in (images(), images() + 0.25)]
    assert loss == [0, pytest.approx(0.25)]


@pytest.mark.parametrize("prediction, attention, task", [(0.2, 0.2, 0.0), (0.0, 0.2, 0.0), (0.2, 0.0, 0.0), (0.0, 0.0, 0.2)])
def test_a_share_of_zero_leaves_the_term_out(prediction, attention, task):
    switches = SRFER.Switches(width=8, prediction=prediction, attention=attention, task=task)
    method = SRFER(switches, Backbone("resnet10_narrow", 2, size=32), 8)
    asked = method.guidance(images().requires_grad_(), images(), labelled(images()))
    shares = {"attention": attention, "prediction": prediction, "cross-entropy": task}
    assert {name: share for name, (_, share) in asked.items()} == {k: v for k, v in shares.items() if v}


@pytest.mark.parametrize(
    "switches, sentence",
    [
        ({"restorer": "srgan"}, "restorer cannot be 'srgan': choose one of fsrcnn"),
        ({"scale": 3}, "scale cannot be '3': choose one of 2, 4, 8"),
        ({"stages": "15"}, "stages cannot be '15': write the numbers of stages"),
        ({"restorer": "bicubic"}, "The restorer 'bicubic' cannot learn, so joint must be false"),
    ],
)
def test_refusals(switches, sentence):
    with pytest.raises(FerError, match=sentence):
        SRFER.Switches(**switches)
