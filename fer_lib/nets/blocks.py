"""Building blocks of the networks that turn an image into an image."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class ChannelAttention(nn.Module):
    """Each channel times a factor in (0, 1) that depends on all channels' means [hu2018squeeze].

    Shapes:
        (B, C, H, W) -> (B, C, H, W).

    Explained in: book/ll_fer.ipynb
    """

    def __init__(self, channels: int, reduction: int = 4):
        super().__init__()
        hidden = max(channels // reduction, 4)
        self.gate = nn.Sequential(nn.Linear(channels, hidden), nn.ReLU(), nn.Linear(hidden, channels), nn.Sigmoid())

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gate(x.mean(dim=(2, 3)))[:, :, None, None]


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut, without batch norm; with attention the RCAB of [zhang2018image].

    Shapes:
        (B, C, H, W) -> (B, C, H, W).

    Explained in: book/ll_fer.ipynb
    """

    def __init__(self, channels: int, attention: bool = True):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1), nn.ReLU(), nn.Conv2d(channels, channels, 3, padding=1)
        )
        self.attention = ChannelAttention(channels) if attention else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return x + self.attention(self.body(x))


class UNet(nn.Module):
    """An encoder that halves the picture twice, and a decoder that brings it back [ronneberger2015unet].

    Args:
        width: channels at full size; twice and four times as many below.
        attention: whether the residual blocks weigh their channels.
        skips: whether the decoder sees the encoder's maps of its own size.

    Shapes:
        (B, 3, H, W) -> (B, width, H, W), any H and W from 4 on.

    Explained in: book/ll_fer.ipynb
    """

    def __init__(self, width: int = 32, attention: bool = True, skips: bool = True):
        super().__init__()
        self.skips, wide = skips, (width, 2 * width, 4 * width)
        self.stem = nn.Conv2d(3, width, 3, padding=1)
        self.encoder = nn.ModuleList(_blocks(c, attention) for c in wide[:2])
        self.down = nn.ModuleList(nn.Conv2d(c, 2 * c, 3, stride=2, padding=1) for c in wide[:2])
        self.bottom = _blocks(wide[2], attention)
        self.context = nn.Sequential(nn.Linear(wide[2], wide[2]), nn.ReLU(), nn.Linear(wide[2], 2 * wide[2]))
        self.up = nn.ModuleList(nn.Conv2d(2 * c, c, 3, padding=1) for c in wide[1::-1])
        self.merge = nn.ModuleList(nn.Conv2d(2 * c if skips else c, c, 1) for c in wide[1::-1])
        self.decoder = nn.ModuleList(_blocks(c, attention) for c in wide[1::-1])

    def forward(self, x: Tensor) -> Tensor:
        x, kept = self.stem(x), []
        for blocks, down in zip(self.encoder, self.down, strict=True):
            kept.append(blocks(x))
            x = down(kept[-1])
        x = self.bottom(x)  # (B, 4 width, H / 4, W / 4)
        # How dark the whole picture is, no single place can tell.
        scale, shift = self.context(x.mean(dim=(2, 3)))[:, :, None, None].chunk(2, dim=1)
        x = x * (1 + scale) + shift
        for up, merge, blocks, skip in zip(self.up, self.merge, self.decoder, kept[::-1], strict=True):
            x = up(enlarged(x, skip))
            x = blocks(merge(torch.cat([x, skip], 1) if self.skips else x))
        return x


def enlarged(x: Tensor, like: Tensor) -> Tensor:
    """The map (B, C, h, w) brought to the height and width of another: a decoder's step up [ronneberger2015unet].

    Explained in: book/ll_fer.ipynb
    """
    return F.interpolate(x, size=like.shape[-2:], mode="bilinear", align_corners=False)


def zeroed(layer: nn.Conv2d) -> nn.Conv2d:
    """The layer with weights and bias 0: what is added to an image is nothing at first.

    Explained in: book/ll_fer.ipynb
    """
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


def _blocks(channels: int, attention: bool) -> nn.Sequential:
    return nn.Sequential(ResidualBlock(channels, attention), ResidualBlock(channels, attention))
