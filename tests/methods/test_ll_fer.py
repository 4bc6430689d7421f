"""LLENet starts as the identity and keeps order; its losses vanish on equal images; the fixed controls do what they say."""

import numpy as np
import pytest
import torch

from fer_lib.data.degrade import low_light
from fer_lib.data.faces import make_faces
from fer_lib.data.loader import Batch
from fer_lib.errors import FerError
from fer_lib.methods.cascade import psnr
from fer_lib.methods.ll_fer import FIXED, LLFER, FixedEnhancer, LLENet, charbonnier, roughness
from fer_lib.nets.backbone import Backbone


def images(count=3, size=20):
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(0))


def labelled(image):
    label = torch.arange(len(image))
    return Batch(image, label, label)


@pytest.mark.parametrize("head", ["both", "curve", "detail", "retinex"])
@pytest.mark.parametrize("size", [20, 23])
def test_it_starts_as_the_identity(head, size):
    x = images(size=size)
    assert (LLENet(4, head)(x) - x).abs().max() < 1e-6


def test_grey_becomes_three_equal_channels():
    x = images()[:, :1]
    assert torch.allclose(LLENet(4)(x), x.expand(-1, 3, -1, -1), atol=1e-6)


def test_losses_are_zero_on_equal_images_and_by_hand_elsewhere():
    x = images()
    method = LLFER(LLFER.Switches(width=4), Backbone("resnet10_narrow", 2, size=20), 8).eval()
    method.restorer(x)
    terms = method.reconstruction(x, x, x)
    assert {name: term.value.item() for name, term in terms.items()} == dict.fromkeys(terms, 0.0)
    guided = method.guidance(x, x, labelled(x))
    assert guided["feature distance"][0].item() == 0
    assert charbonnier(x, x + 0.3).item() == pytest.approx((0.09 + 1e-6) ** 0.5 - 1e-3, abs=1e-6)
    ramp = torch.arange(5.0).expand(1, 1, 5, 5)
    assert roughness(ramp).item() == 1


def test_fixed_enhancers():
    dark = images() * 0.1
    assert FixedEnhancer("stretch")(dark).amax((1, 2, 3)).tolist() == [1.0] * 3
    assert torch.allclose(FixedEnhancer("gamma")(torch.full((1, 3, 4, 4), 0.1)), torch.tensor(0.45))
    power = np.log(0.45) / np.log(dark.mean((1, 2, 3)).numpy())
    assert np.allclose(FixedEnhancer("gamma")(dark).numpy(), dark.numpy() ** power[:, None, None, None], atol=1e-5)
    assert torch.equal(FixedEnhancer("none")(dark), dark)
    for kind in FIXED:
        lit = FixedEnhancer(kind)(dark)
        assert lit.shape == dark.shape and 0 <= lit.min() and lit.max() <= 1
        assert kind == "none" or lit.mean() > 2 * dark.mean()


@pytest.mark.parametrize(
    "switches, sentence",
    [
        ({"restorer": "magic"}, "restorer cannot be 'magic': choose one of llenet, zero_dce, none, stretch"),
        ({"head": "no"}, "head cannot be 'no': choose one of both, curve"),
        ({"reader": "asleep"}, "reader cannot be 'asleep': choose one of frozen"),
        ({"restorer": "gamma"}, "The restorer 'gamma' cannot learn, so joint must be false"),
    ],
)
def test_refusals(switches, sentence):
    with pytest.raises(FerError, match=sentence):
        LLFER.Switches(**switches)


def test_a_short_training_beats_the_identity_and_the_best_single_gamma():
    """On faces held out, in mean PSNR: what the network learns is more than one brightening for all."""
    clean = make_faces(160, "train", size=32).images.float() / 255
    held = make_faces(48, "val", size=32).images.float() / 255
    pairs = [(low_light(x, "medium", torch.arange(len(x))), x) for x in (clean, held)]
    torch.manual_seed(0)
    net = LLENet(8).to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(net.parameters(), lr=4e-3)
    for step in range(60):
        rows = torch.randint(len(clean), (32,), generator=torch.Generator().manual_seed(step))
        loss = charbonnier(net(pairs[0][0][rows]), pairs[0][1][rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    dark, bright = pairs[1]
    with torch.no_grad():
        learned = psnr(net(dark).clamp(0, 1), bright).mean()
    gammas = [psnr(dark.clamp(min=1e-6) ** g, bright).mean() for g in torch.linspace(0.1, 1, 19)]
    assert learned > max(gammas) + 1 and max(gammas) > psnr(dark, bright).mean() + 1
