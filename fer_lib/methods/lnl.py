"""LNL: the local non-local joint network, which weighs the regions of a face and hears the heavy ones louder [shi2024lnl].

The paper states the parts and that the weights are fed back; every formula and size is our reference build.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fer_lib.data.degrade import upsample
from fer_lib.data.loader import Batch, Loader
from fer_lib.errors import FerError
from fer_lib.methods.method import Method, Prediction, Term
from fer_lib.nets.backbone import Backbone
from fer_lib.nets.blocks import UNet, zeroed
from fer_lib.nets.regions import LocalNetworks, NonLocal, SpatialAttention, cut

CHOICES = {
    "features": ("unet", "flat", "backbone"),
    "attention": ("nonlocal", "cbam", "random", "shuffled", "none"),
    "weight": ("pool", "received"),
    "feedback": ("pre", "post", "none"),
}


def _rows() -> dict[str, dict[str, Any]]:
    """The ablation table of the paper file, N0-N9."""
    late = {"feedback": "none"}
    return {
        "N0": {"features": "backbone", "local": False, "attention": "none", **late},
        "N0-unet": {"local": False, "attention": "none", **late},
        "N1": {"attention": "none", **late},
        "N2": {"local": False, **late},
        "N3": late,
        "N4": {},
        "N4-post": {"feedback": "post"},
        "N5": {"features": "flat"},
        "N6-4": {"side": 2},
        "N6-9": {"side": 3},
        "N6-25": {"side": 5},
        "N6-overlap": {"overlap": True},
        "N7-received": {"weight": "received"},
        "N7-stop": {"grad_feedback": False},
        "N8-random": {"attention": "random"},
        "N8-shuffled": {"attention": "shuffled"},
        "N9": {"attention": "cbam"},
    }


def crucial(mask: Tensor, side: int) -> Tensor:
    """Which cells of a grid hold more than their even share of each face's expression mask.

    Shapes:
        mask (B, 1, H, W) in [0, 1] -> bool (B, side * side).

    Explained in: book/lnl.ipynb
    """
    mass = F.adaptive_avg_pool2d(mask, side).flatten(1)
    return mass > mass.mean(1, keepdim=True)


def share_on(weight: Tensor, chosen: Tensor) -> Tensor:
    """The share of each row's mass that lies on the chosen cells: (B, M), bool (B, M) -> (B,).

    Explained in: book/lnl.ipynb
    """
    return (weight * chosen).sum(1) / weight.sum(1).clamp(min=1e-12)


class FeatureMap(nn.Module):
    """U-Net features at half the image's size: what is deep and what is fine, joined [ronneberger2015unet].

    It is :class:`fer_lib.nets.blocks.UNet` with a first convolution of stride 2.

    Args:
        channels: of the map.
        skips: whether the decoder sees the encoder's maps of its own size.
        size: side in pixels to which other images are brought first; 0 takes them as they are.

    Shapes:
        image (B, 1 or 3, H, W) in [0, 1] -> a list of one map (B, channels, H / 2, W / 2).

    Explained in: book/lnl.ipynb
    """

    def __init__(self, channels: int, skips: bool = True, size: int = 0):
        super().__init__()
        self.size = size
        self.net = UNet(channels, attention=False, skips=skips)
        self.net.stem = nn.Sequential(
            nn.Conv2d(3, channels, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(channels), nn.ReLU()
        )

    def forward(self, image: Tensor) -> list[Tensor]:
        if self.size and image.shape[-1] != self.size:
            image = upsample(image, self.size)
        return [self.net(image.expand(-1, 3, -1, -1).contiguous(memory_format=torch.channels_last))]


class Weigher(nn.Module):
    r"""A weight for each region of each face; the weights of a face sum to their number M.

    Before training all are exactly 1, those of ``random`` excepted.

    ``nonlocal``: a token for each region, its mean and a learned position code, goes through the
    non-local block; then ``pool``: :math:`w = M\operatorname{softmax}(v^\top u)` with v zero at first, or
    ``received``: the attention that a region gets, :math:`w_m = \sum_i A_{im}`. ``shuffled``: the same, then each
    weight is given to another region, always the same one. ``cbam``: the mean of CBAM's map over a region,
    divided by its mean over all. ``random``: drawn once, the same for all faces. ``none``: 1.

    Args:
        attention, weight: as above.
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
            self.register_buffer("order", torch.randperm(count))
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


class Seen(NamedTuple):
    """What the network makes of a batch.

    Attributes:
        stages: maps of the encoder; the last one is cut into regions.
        logits: (B, K), of the whole network.
        weight: (B, M), mean 1 over the regions; ``None`` without regions.
        heard: (B, M), the weights as the local networks get them; ``None`` where they get none.
        fused: (B, K), the local networks' logits, weighted; ``None`` without local networks.
        local: (B, M, K), each local network's logits; ``None`` without.

    Explained in: book/lnl.ipynb
    """

    stages: list[Tensor]
    logits: Tensor
    weight: Tensor | None = None
    heard: Tensor | None = None
    fused: Tensor | None = None
    local: Tensor | None = None


class LNL(Method):
    r"""A U-Net's map, cut into M regions; a local network for each, and non-local attention that weighs them.

    .. math:: h = \tfrac1M\textstyle\sum_m w_m f_m, \qquad o = \mathrm{FC}[h; \mathrm{GAP}(U)],
        \qquad \bar o = \tfrac1M\sum_m w_m o_m

    with the feature :math:`f_m` and the logits :math:`o_m` of local network m.

    Args:
        switches: see :class:`LNL.Switches`.
        backbone: used as the encoder by ``features=backbone`` alone; else it sets image size and widths.
        classes: how many emotions.

    Explained in: book/lnl.ipynb
    """

    @dataclass(frozen=True)
    class Switches:
        """Which parts there are, and who hears whom.

        Attributes:
            features: ``unet``, ``flat`` (a U-Net without skips) or ``backbone`` (the baseline's; no regions).
            side, overlap: of the grid of regions; see :func:`fer_lib.nets.regions.cut`.
            local: whether there is a network for each region; without, the tokens u are fused.
            attention, weight: see :class:`Weigher`.
            feedback: where the weight is fed back into a local network: ``pre`` multiplies the region's map,
                ``post`` the feature, ``none`` leaves it to the fusion at the end.
            grad_feedback: whether the weights learn from what is fed back, or from the fusion alone.
            fused, each, evenness: factors of the loss terms; ``evenness`` above 0 keeps weights from collapsing.

        Raises:
            FerError: if a value is none of these.

        Explained in: book/lnl.ipynb
        """

        features: str = "unet"
        side: int = 4
        overlap: bool = False
        local: bool = True
        attention: str = "nonlocal"
        weight: str = "pool"
        feedback: str = "pre"
        grad_feedback: bool = True
        fused: float = 0.5
        each: float = 0.5
        evenness: float = 0.0

        def __post_init__(self):
            for name, values in CHOICES.items():
                if getattr(self, name) not in values:
                    raise FerError(f"{name} cannot be '{getattr(self, name)}': choose one of {', '.join(values)}.")
            if self.side < 2:
                raise FerError(f"side cannot be {self.side}: at least 2 regions each way.")
            if self.features == "backbone" and self.regional:
                raise FerError("The features 'backbone' are not cut into regions: take attention=none local=false.")

        @property
        def regional(self) -> bool:
            """Whether the map is cut into regions at all."""
            return self.local or self.attention != "none"

    name = "lnl"
    ROWS = _rows()

    def __init__(self, switches: Switches, backbone: Backbone, classes: int):
        super().__init__()
        self.switches, s = switches, switches
        channels, width = (16, 64) if backbone.channels[-1] < 512 else (64, 128)
        if s.features == "backbone":
            self.encoder, channels = backbone, backbone.channels[-1]
        else:
            self.encoder = FeatureMap(channels, s.features == "unet", backbone.size)
        fused = 0
        if s.regional:
            fused = width if s.local else channels
            self.weigher = Weigher(s.attention, s.weight, s.side, channels)
        if s.local:
            self.local = LocalNetworks(s.side**2, channels, width, classes, s.feedback == "pre")
        self.head = nn.Linear(channels + fused, classes)

    def see(self, image: Tensor, weight: Tensor | None = None) -> Seen:
        """All that comes of images (B, C, H, W); ``weight`` (B, M) takes the place of the network's own."""
        s, stages = self.switches, self.encoder(image)
        pooled = stages[-1].mean(dim=(2, 3))
        if not s.regional:
            return Seen(stages, self.head(pooled))
        regions = cut(stages[-1], s.side, s.overlap)
        own, mixed = self.weigher(regions, stages[-1])
        weight = own if weight is None else weight
        share = (weight / s.side**2)[:, :, None]  # (B, M, 1)
        if not s.local:
            return Seen(stages, self.head(torch.cat([(share * mixed).sum(1), pooled], 1)), weight)
        heard = None if s.feedback == "none" else weight if s.grad_feedback else weight.detach()
        feature, local = self.local(regions, heard)
        logits = self.head(torch.cat([(share * feature).sum(1), pooled], 1))
        return Seen(stages, logits, weight, heard, (share * local).sum(1), local)

    def forward(self, image: Tensor) -> Prediction:
        seen, side = self.see(image), self.switches.side
        maps = {} if seen.weight is None else {"weight": seen.weight.unflatten(1, (side, side))}
        return Prediction(seen.logits, seen.stages, maps)

    def losses(self, batch: Batch, stage: str, player: str) -> dict[str, Term]:
        s, seen = self.switches, self.see(batch.image)
        terms = {"cross-entropy": Term(F.cross_entropy(seen.logits.float(), batch.label))}
        if s.local:
            each = F.cross_entropy(seen.local.float().transpose(1, 2), batch.label[:, None].expand(-1, s.side**2), reduction="none")
            terms["fused"] = Term(F.cross_entropy(seen.fused.float(), batch.label), s.fused)
            terms["each region"] = Term((each if seen.heard is None else seen.heard * each).mean(), s.each)
        if s.evenness:
            terms["evenness"] = Term(torch.xlogy(seen.weight, seen.weight).mean(), s.evenness)
        if s.attention != "none" and batch.mask is not None:
            # Watched, not lowered: how far the weights have come.
            terms["weight on crucial regions"] = Term(share_on(seen.weight, crucial(batch.mask, s.side)).detach().mean(), 0.0)
        return terms
