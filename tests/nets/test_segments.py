"""Segments have the length they should, and without a code the decoder draws nothing."""

import pytest
import torch

from fer_lib.nets.segments import Decoder, gated, segment_margin, squash


def test_squash_keeps_the_direction_and_bounds_the_length():
    x = torch.tensor([[3.0, 4.0], [0.3, 0.4], [0.0, 0.0]])
    y = squash(x)
    assert torch.allclose(y.norm(dim=1), torch.tensor([5 / 6, 0.5 / 1.5, 0.0]), atol=1e-4)
    assert torch.allclose(y[0] / y[0].norm(), torch.tensor([0.6, 0.8]))
    x.requires_grad_()
    squash(x).sum().backward()
    assert x.grad.isfinite().all()


def test_margin_by_hand():
    length = torch.tensor([[0.5, 0.3], [0.95, 0.05], [0.4, 0.1]])
    label = torch.tensor([1, 1, 0])
    wanted = [0.4**2 + 0.5 * 0.2**2, 0.0, 0.5 * 0.3**2]
    assert segment_margin(length, label).item() == pytest.approx(sum(wanted) / 3, abs=1e-6)


def test_the_gate_leaves_one_segment_and_for_neutral_none():
    code = torch.rand(3, 7, 4) + 0.1
    kept = gated(code, torch.tensor([0, 1, 7]))
    assert not kept[0].any() and torch.equal(kept[1, 0], code[1, 0]) and torch.equal(kept[2, 6], code[2, 6])
    assert not kept[1, 1:].any() and not kept[2, :6].any()


def decoder(**changes):
    torch.manual_seed(0)
    return Decoder(28, [4, 6, 8, 10], 2, 8, **changes)


def maps(side=24):
    torch.manual_seed(1)
    return [torch.rand(2, c, -(-side // s), -(-side // s)) for c, s in ((4, 2), (6, 4), (8, 8), (10, 16))]


@pytest.mark.parametrize("side", [24, 25, 47])
def test_any_side_fits(side):
    assert decoder()(torch.rand(2, 28), maps(side), torch.rand(2, 3, side, side)).shape == (2, 3, side, side)


def test_it_starts_at_zero_and_draws_nothing_without_a_code():
    net, image = decoder(), torch.rand(2, 3, 24, 24)
    assert not net(torch.rand(2, 28), maps(), image).any()
    torch.nn.init.normal_(net.last.weight)
    assert net(torch.rand(2, 28), maps(), image).any() and not net(torch.zeros(2, 28), maps(), image).any()
    plain = decoder(opens=False)
    torch.nn.init.normal_(plain.last.weight)
    assert plain(torch.zeros(2, 28), maps(), image).any()


def test_without_skips_it_sees_the_code_alone():
    net, code = decoder(skips=False), torch.rand(2, 28)
    torch.nn.init.normal_(net.last.weight)
    assert torch.equal(net(code, maps(), torch.rand(2, 3, 24, 24)), net(code, [2 * x for x in maps()], torch.rand(2, 3, 24, 24)))
