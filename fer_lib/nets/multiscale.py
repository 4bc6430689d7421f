"""Four stage maps brought to one form and fused, and a head that reads the result as one small picture."""

import torch
from torch import Tensor, nn

from fer_lib.errors import FerError
from fer_lib.nets.backbone import Backbone
from fer_lib.parallel import all_sum, share

GRID = 11


class MultiScale(nn.Module):
    """Multi-scale representation: each stage unfolded by a pixel shuffle, seen through one convolution, then fused.

    The shuffle turns the channels of a place into a square of pixels, so that all stages have about
    the size of the first one, doubled. Kernels double from stage to stage, and stride and padding are such that the
    result has ``GRID`` x ``GRID`` places; for images of 224 pixels they are those of the published code.

    Args:
        backbone: its ``size`` must be set; its channels must fill the shuffles (each place 4, 16, 64, 256).
        width: channels of the result.
        attention: ``sum``, or scales weighed by a score that each gets from a convolution, a mean and a
            linear layer: ``gate`` (sigmoids, divided by their sum) or ``softmax``.

    Shapes:
        four stage maps -> fused (B, width, 11, 11), the four summands alike, weights (B, 4) that sum to 1
        (to 4 for ``sum``).

    Raises:
        FerError: if the backbone does not fit.

    Explained in: book/clcl.ipynb
    """

    def __init__(self, backbone: Backbone, width: int, attention: str):
        super().__init__()
        self.attention = attention
        self.shuffles = nn.ModuleList(nn.PixelShuffle(2 ** (j + 1)) for j in range(4))
        self.convs = nn.ModuleList(
            _to_grid(_pixels(channels, j), side * 2 ** (j + 1), j, width)
            for j, (channels, side) in enumerate(zip(backbone.channels, _sides(backbone), strict=True))
        )
        if attention != "sum":
            seen = nn.Sequential(nn.Conv2d(width, width, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1))
            self.score = nn.Sequential(seen, nn.Flatten(), nn.Linear(width, 1))

    def forward(self, stages: list[Tensor]) -> tuple[Tensor, list[Tensor], Tensor]:
        scales = [c(s(x)) for c, s, x in zip(self.convs, self.shuffles, stages, strict=True)]
        if self.attention == "sum":
            return sum(scales), scales, scales[0].new_ones(len(scales[0]), 4)
        scores = torch.cat([self.score(x) for x in scales], 1).float()  # (B, 4)
        weights = scores.softmax(1)
        if self.attention == "gate":
            weights = scores.sigmoid() / scores.sigmoid().sum(1, keepdim=True)
        return sum(w[:, None, None, None] * x for w, x in zip(weights.unbind(1), scales, strict=True)), scales, weights


class MapHead(nn.Module):
    """Convolution, batch norm, mean over the channels, and a linear layer on the 121 places that are left.

    Args:
        width: channels of what comes in.
        classes: how many emotions.
        batch_mean: ``on`` adds the mean map of the batch to each face's own, in evaluation too: a
            face's scores then depend on its neighbours. ``running`` does so in training only, and adds a
            moving average of these means in evaluation. ``off`` adds nothing.
        momentum: share of the newest batch in the moving average.

    Shapes:
        (B, width, 11, 11) -> logits (B, classes).

    Explained in: book/clcl.ipynb
    """

    def __init__(self, width: int, classes: int, batch_mean: str = "off", momentum: float = 0.1):
        super().__init__()
        self.batch_mean, self.momentum = batch_mean, momentum
        self.body = nn.Sequential(nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width))
        self.linear = nn.Linear(GRID**2, classes)
        if batch_mean == "running":
            self.register_buffer("running_map", torch.zeros(GRID**2))

    def features(self, x: Tensor) -> Tensor:
        """Each face's own map, (B, 121)."""
        return self.body(x).mean(1).flatten(1)

    def read(self, feature: Tensor) -> Tensor:
        """Logits of maps (B, 121) that share a batch."""
        if self.batch_mean == "off":
            return self.linear(feature)
        shared = all_sum(share(feature) * feature.mean(0))
        if self.batch_mean == "running":
            if self.training:
                self.running_map.lerp_(shared.detach().to(self.running_map.dtype), self.momentum)
            else:
                shared = self.running_map
        return self.linear(feature + shared)

    def forward(self, x: Tensor) -> Tensor:
        return self.read(self.features(x))


def _sides(backbone: Backbone) -> list[int]:
    """Sides of the four stage maps, by one look at an empty image."""
    if not backbone.size:
        raise FerError("Fusing the scales needs the size of the images: give the backbone a size.")
    was_training, weight = backbone.training, next(backbone.parameters())
    with torch.no_grad():
        maps = backbone.eval()(weight.new_zeros(1, 3, backbone.size, backbone.size))
    backbone.train(was_training)
    return [x.shape[-1] for x in maps]


def _pixels(channels: int, stage: int) -> int:
    """Channels that the pixel shuffle of a stage leaves."""
    left, rest = divmod(channels, 4 ** (stage + 1))
    if rest:
        wanted = 4 ** (stage + 1)
        raise FerError(f"Stage {stage + 1} has {channels} channels, no multiple of {wanted}: take a ResNet-18.")
    return left


def _to_grid(channels: int, side: int, stage: int, width: int) -> nn.Conv2d:
    """The convolution that leaves ``GRID`` places of ``side`` pixels; from 112: kernels 4 to 32, strides 11 to 8."""
    kernel = max(1, round(side * 2**stage / 28))
    stride = max(2, -(-(side - kernel) // (GRID - 1)))
    padding = max(0, -(-((GRID - 1) * stride + kernel - side) // 2))
    return nn.Conv2d(channels, width, kernel, stride, padding, bias=False)
