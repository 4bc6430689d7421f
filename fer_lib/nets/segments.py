"""A code with one segment for each expression, and a decoder that turns it into a picture of what the expression changes."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fer_lib.nets.blocks import enlarged


def squash(x: Tensor) -> Tensor:
    r"""Vectors with their direction kept and their length brought into [0, 1).

    .. math:: \frac{x}{1+\|x\|}

    The squash of [sabour2017dynamic], :math:`\|x\|^2/(1+\|x\|^2)` times the direction, is flat near zero: what has become
    short hears little. This one is not.

    Shapes:
        (..., d) -> (..., d).

    Explained in: book/err_net.ipynb
    """
    return x / (1 + (x.square().sum(-1, keepdim=True) + 1e-9).sqrt())


def segment_margin(length: Tensor, label: Tensor, long: float = 0.9, short: float = 0.1) -> Tensor:
    r"""The segment of the true class is to be long, all others short: the margin loss of [sabour2017dynamic].

    .. math:: \sum_k T_k\,(0.9-\|z_k\|)_+^2 + \tfrac12 (1-T_k)\,(\|z_k\|-0.1)_+^2

    Args:
        length: (B, K - 1), of the expressions 1 to K - 1; label: int64 (B,), 0 neutral, of which all are short.

    Returns:
        A scalar, mean over the batch.

    Explained in: book/err_net.ipynb
    """
    wanted = F.one_hot(label, length.shape[1] + 1)[:, 1:]
    terms = wanted * F.relu(long - length).square() + 0.5 * (1 - wanted) * F.relu(length - short).square()
    return terms.sum(1).mean()


class SegmentScores(nn.Module):
    r"""Logits of a code with segments: :math:`o_k = s\,(\|z_k\| - \theta)` and :math:`o_0 = 0` for neutral, or a linear layer.

    Args:
        classes: neutral and the expressions, K; depth: numbers to a segment, d.
        linear: read the whole code by a linear layer instead.

    Shapes:
        code (B, K - 1, d) -> (B, K).

    Explained in: book/err_net.ipynb
    """

    def __init__(self, classes: int, depth: int, linear: bool = False):
        super().__init__()
        self.linear = nn.Linear((classes - 1) * depth, classes) if linear else None
        if not linear:
            self.steep, self.threshold = nn.Parameter(torch.tensor(8.0)), nn.Parameter(torch.tensor(0.5))

    def forward(self, code: Tensor) -> Tensor:
        if self.linear is not None:
            return self.linear(code.flatten(1))
        return F.pad(self.steep * (code.norm(dim=2) - self.threshold), (1, 0))


def opened(logits: Tensor, lean: float) -> Tensor:
    """The class whose segment passes a gate that nobody sets: neutral, unless an expression's logit leads it by ``lean``.

    Shapes:
        (B, K) -> int64 (B,).

    Explained in: book/err_net.ipynb
    """
    return torch.cat([logits[:, :1] + lean, logits[:, 1:]], 1).argmax(1)


def gated(code: Tensor, label: Tensor) -> Tensor:
    """The code with one segment left, that of ``label``; with none for 0, neutral.

    Shapes:
        code (B, K - 1, d), label int64 (B,) -> (B, K - 1, d).

    Explained in: book/err_net.ipynb
    """
    return code * F.one_hot(label, code.shape[1] + 1)[:, 1:, None]


class Decoder(nn.Module):
    """From a code, and an encoder's maps, to a picture.

    The finest map is that of the encoder's first stage; a pixel shuffle [shi2016subpixel] makes the picture of it.
    Before that it is multiplied, channel by channel, by a linear function of the code without a bias, and what
    follows has no bias either: without a code there is nothing to decode. The last layer starts at zero.

    Args:
        length: of the whole code, (K - 1) * d.
        channels: of the encoder's stage maps; the first three are used.
        stride: how many pixels wide a place of the first stage is.
        width: channels of the finest map; more at coarser levels.
        skips: whether the encoder's maps, and the picture itself, are seen.
        opens: whether the code multiplies at the end; without it the decoder can draw something from nothing.

    Shapes:
        code (B, length), the encoder's maps from fine to coarse, image (B, 3, H, W) -> (B, 3, H, W), before any bound.

    Explained in: book/err_net.ipynb
    """

    def __init__(
        self, length: int, channels: list[int], stride: int, width: int = 32, skips: bool = True, opens: bool = True
    ):
        super().__init__()
        self.stride, self.skips, self.wide = stride, skips, (2 * width, 2 * width, width)  # from coarse to fine
        self.first = nn.Linear(length, 16 * self.wide[0], bias=False)
        seen = (channels[2], channels[1], channels[0] + 3 * stride**2)
        self.bring = nn.ModuleList(nn.Conv2d(c, width, 1) for c in seen) if skips else None
        before, kept = (self.wide[0], *self.wide[:2]), width if skips else 0
        self.merge = nn.ModuleList(nn.Conv2d(b + kept, w, 3, padding=1) for b, w in zip(before, self.wide, strict=True))
        self.open = nn.Linear(length, width, bias=False) if opens else None
        self.last = nn.Conv2d(width, 3 * stride**2, 3, padding=1, bias=not opens)
        for parameter in self.last.parameters():
            nn.init.zeros_(parameter)
        # Only one segment, of length 1 at most, comes in: numbers of that size shall come out.
        for layer in filter(None, (self.first, self.open)):
            nn.init.normal_(layer.weight)

    def forward(self, code: Tensor, maps: list[Tensor], image: Tensor) -> Tensor:
        x = self.first(code).unflatten(1, (self.wide[0], 4, 4))
        x = x.contiguous(memory_format=torch.channels_last)
        high, wide = image.shape[-2:]
        # Maps round up where the stride does not divide the side.
        missing = [self.stride * n - side for n, side in zip(maps[0].shape[-2:], (high, wide), strict=True)]
        whole = F.pad(image - 0.5, (0, missing[1], 0, missing[0]), mode="replicate")
        sees = [maps[2], maps[1], torch.cat([maps[0], F.pixel_unshuffle(whole, self.stride)], 1)]
        for k, merge in enumerate(self.merge):
            x = enlarged(x, sees[k])
            x = F.relu(merge(torch.cat([x, self.bring[k](sees[k])], 1) if self.skips else x))
        if self.open is not None:
            x = x * self.open(code)[:, :, None, None]
        return F.pixel_shuffle(self.last(x), self.stride)[..., :high, :wide]
