"""A feature map and its regions: the map, the cutting, a network for each region, and weights for them."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fer_lib.nets.backbone import Backbone
from fer_lib.nets.blocks import enlarged, zeroed


class FeatureMap(nn.Module):
    """A U-Net's way up, behind the backbone as its way down: deep and fine, joined [ronneberger2015unet].

    Each step enlarges the map, lays the backbone's map of that size beside it, and mixes both. Where even the
    backbone's first map is smaller than half the image, one more step has the image itself beside it.

    Args:
        backbone: whose stage maps come in; only their sizes are asked for.
        channels: of the map.
        skips: whether the backbone's finer maps are seen; without, the last one alone.

    Shapes:
        the backbone's four maps, image (B, 1 or 3, H, W) in [0, 1] -> (B, channels, h, w): as the first map
        or, where that is smaller, half the size that the backbone sees.

    Explained in: book/lnl.ipynb
    """

    def __init__(self, backbone: Backbone, channels: int, skips: bool = True):
        super().__init__()
        self.skips = skips
        beside = [*backbone.channels[2::-1], 3][: 4 if backbone.stride > 2 else 3]
        wide = [backbone.channels[3], *(max(c // 2, channels) for c in beside[:2]), *(channels for _ in beside[2:])]
        self.mix = nn.ModuleList(
            nn.Sequential(nn.Conv2d(b + skips * c, w, 3, padding=1, bias=False), nn.BatchNorm2d(w), nn.ReLU())
            for b, c, w in zip(wide, beside, wide[1:], strict=False)
        )

    def forward(self, stages: list[Tensor], image: Tensor) -> Tensor:
        high, broad = stages[0].shape[-2:]
        picture = F.adaptive_avg_pool2d(image.expand(-1, 3, -1, -1), (2 * high, 2 * broad))
        x = stages[3]
        for mix, skip in zip(self.mix, (stages[2], stages[1], stages[0], picture), strict=False):
            x = enlarged(x, skip)
            x = mix(torch.cat([x, skip], 1) if self.skips else x)
        return x


def cut(features: Tensor, side: int, overlap: bool = False) -> Tensor:
    """Square regions of a map, ``side`` each way, row by row.

    Without overlap a region has H / side places each way, rounded up; with it, twice as many of
    side + 1, so that neighbours share half. The regions stand evenly from edge to edge.

    Shapes:
        (B, C, H, H) -> (B, side * side, C, h, h).

    Explained in: book/lnl.ipynb
    """
    places = features.shape[-1]
    size = -(-2 * places // (side + 1)) if overlap else -(-places // side)
    start = torch.linspace(0, places - size, side).round().long()
    index = (start[:, None] + torch.arange(size)).flatten().to(features.device)  # (side h,)
    tiled = features.index_select(2, index).index_select(3, index)  # (B, C, side h, side h)
    regions = tiled.unflatten(3, (side, size)).unflatten(2, (side, size))  # (B, C, side, h, side, h)
    return regions.permute(0, 2, 4, 1, 3, 5).flatten(1, 2)


class LocalNetworks(nn.Module):
    """One small network for each region, all of them in one chain of grouped convolutions.

    Each is: convolution, batch norm, ReLU, pooling, convolution, ReLU, mean over the places, then two
    linear layers, to the feature and to the logits. The region's weight multiplies what comes out of the
    batch norm, and no norm follows: one behind it would divide the weight out again.

    Args:
        regions: how many, M.
        channels: of a region, and of the maps inside.
        width: of the feature.
        classes: how many emotions.
        before: whether the weight works inside, as above; else it multiplies the feature.

    Shapes:
        regions (B, M, C, h, h), weight (B, M) or ``None`` -> features (B, M, width), logits (B, M, classes).

    Explained in: book/lnl.ipynb
    """

    def __init__(self, regions: int, channels: int, width: int, classes: int, before: bool = True):
        super().__init__()
        m = self.regions = regions
        self.before = before
        self.first = nn.Conv2d(m * channels, m * channels, 3, padding=1, groups=m, bias=False)
        self.norm = nn.BatchNorm2d(m * channels)
        self.second = nn.Conv2d(m * channels, m * channels, 3, padding=1, groups=m)
        self.feature = nn.Conv2d(m * channels, m * width, 1, groups=m)
        self.head = nn.Conv2d(m * width, m * classes, 1, groups=m)

    def forward(self, regions: Tensor, weight: Tensor | None = None) -> tuple[Tensor, Tensor]:
        x = regions.flatten(1, 2).contiguous(memory_format=torch.channels_last)  # (B, M C, h, h)
        x = self._weighted(self.norm(self.first(x)), weight if self.before else None)
        x = F.relu(self.second(F.max_pool2d(F.relu(x), 2, ceil_mode=True)))
        x = F.relu(self.feature(x.mean(dim=(2, 3), keepdim=True)))  # (B, M width, 1, 1)
        x = self._weighted(x, None if self.before else weight)
        return x.view(len(x), self.regions, -1), self.head(x).view(len(x), self.regions, -1)

    def _weighted(self, x: Tensor, weight: Tensor | None) -> Tensor:
        return x if weight is None else x * weight.repeat_interleave(x.shape[1] // self.regions, 1)[:, :, None, None]


class NonLocal(nn.Module):
    r"""Every region looks at every region: the embedded-Gaussian non-local block [wang2018nonlocal].

    .. math:: A = \operatorname{softmax}\bigl(\theta(t)\,\phi(t)^\top/\sqrt d\bigr), \qquad u = t + W\bigl(A\,g(t)\bigr)

    W starts at zero, so at first u = t.

    Args:
        channels: of a token; inside, ``d`` is half of them.
        even: start with :math:`\theta = 0`: every region looks at all regions alike.

    Shapes:
        tokens (B, M, C) -> u (B, M, C), A (B, M, M) with rows that sum to 1.

    Explained in: book/lnl.ipynb
    """

    def __init__(self, channels: int, even: bool = False):
        super().__init__()
        inside = max(channels // 2, 4)
        self.theta, self.phi, self.g = (nn.Linear(channels, inside) for _ in range(3))
        self.out = zeroed(nn.Linear(inside, channels))
        if even:
            zeroed(self.theta)

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        affinity = self.theta(tokens) @ self.phi(tokens).transpose(1, 2) / self.theta.out_features**0.5
        affinity = affinity.float().softmax(dim=2)  # (B, M, M)
        return tokens + self.out(affinity.to(tokens.dtype) @ self.g(tokens)), affinity


class SpatialAttention(nn.Module):
    """Where CBAM looks [woo2018cbam]: a 7x7 convolution over the channels' mean and maximum, then a sigmoid.

    It starts at one half everywhere.

    Shapes:
        (B, C, H, W) -> (B, 1, H, W) in (0, 1).

    Explained in: book/lnl.ipynb
    """

    def __init__(self):
        super().__init__()
        self.look = zeroed(nn.Conv2d(2, 1, 7, padding=3))

    def forward(self, x: Tensor) -> Tensor:
        return self.look(torch.cat([x.mean(1, keepdim=True), x.amax(1, keepdim=True)], 1)).sigmoid()


class Weigher(nn.Module):
    r"""A weight for each region of each face; the weights of a face sum to their number M.

    Before training all are 1, those of ``random`` excepted.

    ``nonlocal``: a token for each region, its mean and a learned position code, goes through the
    non-local block; then ``pool``: :math:`w = M\operatorname{softmax}(v^\top u)` with v zero at first, or
    ``received``: the attention that a region gets, :math:`w_m = \sum_i A_{im}`. ``shuffled``: the same, then each
    weight is given to another region, always the same one, and none to its own. ``cbam``: the mean of CBAM's map over a region,
    divided by its mean over all. ``random``: drawn once, the same for all faces. ``none``: 1.

    Args:
        attention, weight: one of these.
        side: of the grid of regions, M = side * side.
        channels: of a region.

    Shapes:
        regions (B, M, C, h, h), features (B, C, H, W) -> weights (B, M), u (B, M, C).

    Explained in: book/lnl.ipynb
    """

    def __init__(self, attention: str, weight: str, side: int, channels: int):
        super().__init__()
        self.attention, self.weight, self.side, count = attention, weight, side, side * side
        if attention in ("nonlocal", "shuffled"):
            self.norm = nn.LayerNorm(channels)
            self.position = nn.Parameter(0.1 * torch.randn(count, channels))
            self.mix = NonLocal(channels, even=weight == "received")
            self.score = zeroed(nn.Linear(channels, 1))
            drawn = torch.randperm(count)
            # One cycle through all regions: none keeps its own weight.
            self.register_buffer("order", torch.empty_like(drawn).scatter_(0, drawn, drawn.roll(1)))
        elif attention == "cbam":
            self.look = SpatialAttention()
        self.register_buffer("fixed", count * (torch.randn(count) * (attention == "random")).softmax(0))

    def forward(self, regions: Tensor, features: Tensor) -> tuple[Tensor, Tensor]:
        tokens, count = regions.mean(dim=(3, 4)), self.side**2  # (B, M, C)
        if self.attention == "cbam":
            seen = F.adaptive_avg_pool2d(self.look(features).float(), self.side).flatten(1)
            return seen / seen.mean(1, keepdim=True), tokens
        if self.attention in ("random", "none"):
            return self.fixed.expand(len(tokens), -1), tokens
        mixed, affinity = self.mix(self.norm(tokens) + self.position)
        pooled = self.score(mixed)[:, :, 0].float().softmax(1)
        weight = count * (pooled if self.weight == "pool" else affinity.mean(1))
        return weight[:, self.order] if self.attention == "shuffled" else weight, mixed
