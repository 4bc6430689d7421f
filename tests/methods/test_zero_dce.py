"""The light curve keeps range and order; Zero-DCE's four losses by hand; it learns to light up without a bright picture."""

import pytest
import torch

from fer_lib.data.degrade import low_light
from fer_lib.data.faces import make_faces
from fer_lib.methods.ll_fer import LLFER
from fer_lib.methods.zero_dce import DCENet, light_curve, zero_reference
from fer_lib.nets.backbone import Backbone


def test_the_curve_keeps_the_range_and_the_order_and_its_sign_is_known():
    values = torch.linspace(0, 1, 101).view(1, 1, 1, -1).expand(1, 3, 1, -1)
    curves = (torch.rand(40, 24, 1, 1, generator=torch.Generator().manual_seed(2)) * 2 - 1).expand(-1, -1, 1, 101)
    lit = light_curve(values.expand(40, -1, -1, -1), curves)
    assert (lit.diff(dim=-1) >= -1e-6).all() and lit.min() >= 0 and lit.max() <= 1
    brighter = light_curve(values, torch.full((1, 24, 1, 101), -0.5))
    assert (brighter[..., 1:-1] > values[..., 1:-1]).all()
    assert light_curve(torch.tensor([0.5]).view(1, 1, 1, 1), torch.full((1, 3, 1, 1), -1.0))[0, 0] == 0.75


def test_the_network_has_the_parameters_of_the_paper_and_begins_almost_as_the_identity():
    torch.manual_seed(0)
    net, x = DCENet(), torch.rand(2, 1, 17, 20)
    assert sum(p.numel() for p in net.parameters()) == 79_416
    lit = net(x)
    assert lit.shape == (2, 3, 17, 20) and (lit - x).abs().max() < 0.05
    assert net.curves.shape == (2, 24, 17, 20)
    with torch.no_grad():
        net(x)
    assert net.curves is None, "what nobody needs is not kept"


def flat(*squares):
    """A picture of 4 x 4 squares, each of one grey."""
    return torch.tensor(squares).repeat_interleave(4, 0).repeat_interleave(4, 1).expand(1, 3, -1, -1)


def test_losses_by_hand():
    image, lit = flat([0.1, 0.2], [0.1, 0.1]), flat([0.3, 0.6], [0.3, 0.3])
    curves = torch.zeros(1, 24, 8, 8)
    terms = zero_reference(lit, image, curves)
    # Two of the four pairs of squares differ, by 0.1 before and 0.3 after; each is met twice.
    assert terms["contrast"].value.item() == pytest.approx(2 * 2 * 0.2**2 / 4, abs=1e-6)
    assert terms["exposure"].value.item() == pytest.approx(0.6 - 1.5 / 4, abs=1e-6), "smaller than 16: the whole picture"
    assert terms["grey"].value.item() == pytest.approx(0, abs=1e-12) and terms["roughness"].value.item() == 0
    red = torch.cat([lit[:, :1] + 0.1, lit[:, 1:]], 1)
    assert zero_reference(red, image, curves)["grey"].value.item() == pytest.approx(2 * 0.01, abs=1e-6)
    halves = flat(*[[0.2] * 4 + [1.0] * 4] * 8)  # 32 pixels a side: four squares of 16, and |0.2 - 0.6| = |1 - 0.6|
    assert zero_reference(halves, halves, torch.zeros(1, 24, 32, 32))["exposure"].value.item() == pytest.approx(0.4, abs=1e-6)
    mixed = flat(*[[0.2, 0.2, 1.0, 1.0] * 2] * 8)  # both within each square of 16: its mean is 0.6
    assert zero_reference(mixed, mixed, torch.zeros(1, 24, 32, 32))["exposure"].value.item() == pytest.approx(0, abs=1e-6)
    ramp = torch.arange(8.0).expand(1, 24, 8, 8) + 2 * torch.arange(8.0).view(1, 1, 8, 1)
    assert zero_reference(lit, image, ramp)["roughness"].value.item() == pytest.approx(3 * (1 + 2) ** 2)


def test_equal_pictures_keep_their_contrast():
    x = torch.rand(2, 3, 32, 32)
    assert zero_reference(x, x, torch.zeros(2, 24, 32, 32))["contrast"].value == 0


def test_it_never_sees_the_clean_picture_and_learns_to_light_up():
    clean = make_faces(64, "train", size=32).images.float() / 255
    dark = low_light(clean, "medium", torch.arange(64))
    torch.manual_seed(0)
    switches = LLFER.Switches(restorer="zero_dce", joint=False, reader="frozen")
    method = LLFER(switches, Backbone("resnet10_narrow", 2, size=32), 8)
    optimizer = torch.optim.AdamW(method.restorer.parameters(), lr=2e-3)
    for _ in range(40):
        restored = method.restorer(dark)
        terms = method.reconstruction(restored, torch.full_like(clean, torch.nan), dark)
        loss = sum(term.weight * term.value for term in terms.values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert restored.mean() > 2 * dark.mean() and restored.mean() < 0.7
