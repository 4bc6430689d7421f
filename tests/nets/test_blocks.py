"""Blocks keep the picture's size, and their switches switch."""

import pytest
import torch
from torch import nn

from fer_lib.nets.blocks import ChannelAttention, ResidualBlock, UNet, zeroed


@pytest.mark.parametrize("height, width", [(16, 16), (17, 23), (4, 5)])
def test_a_unet_keeps_any_size(height, width):
    assert UNet(4)(torch.rand(2, 3, height, width)).shape == (2, 4, height, width)


def test_without_skips_the_decoder_sees_the_bottom_alone():
    """Two pictures with equal maps at the bottom give equal outputs only if nothing bypasses it."""
    for skips in (True, False):
        torch.manual_seed(0)
        net = UNet(4, skips=skips)
        for layer in net.down:
            nn.init.zeros_(layer.weight)
        one, other = (net(torch.rand(1, 3, 8, 8)) for _ in range(2))
        assert torch.allclose(one, other) != skips


def test_attention_is_a_factor_per_channel_from_the_means():
    torch.manual_seed(0)
    x, attention = torch.rand(2, 8, 5, 5) + 0.1, ChannelAttention(8)
    factor = attention(x) / x
    assert torch.allclose(factor, factor[:, :, :1, :1].expand_as(factor), atol=1e-5)
    assert 0 < factor.min() and factor.max() < 1
    assert isinstance(ResidualBlock(8, attention=False).attention, nn.Identity)


def test_a_zeroed_layer_is_zero_and_still_learns():
    layer = zeroed(nn.Conv2d(3, 2, 3))
    layer(torch.rand(1, 3, 5, 5)).sum().backward()
    assert not layer.weight.any() and layer.weight.grad.abs().sum() > 0
