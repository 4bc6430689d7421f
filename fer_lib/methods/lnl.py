"""LNL: the local non-local joint network, which weighs a face's regions and hears the heavy ones louder [shi2024lnl].

The paper states the parts and that the weights are fed back; every formula and size is our reference build.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fer_lib.data.loader import Batch, Loader
from fer_lib.errors import FerError
from fer_lib.methods.method import Method, Prediction, Term
from fer_lib.methods.regional import crucial, measure, share_on
from fer_lib.nets.backbone import Backbone
from fer_lib.nets.regions import FeatureMap, LocalNetworks, Weigher, cut

CHOICES = {
    "features": ("unet", "flat"),
    "attention": ("nonlocal", "cbam", "random", "shuffled", "none"),
    "weight": ("pool", "received"),
    "feedback": ("pre", "post", "none"),
}


def _rows() -> dict[str, dict[str, Any]]:
    """The ablation table of the paper file, N0-N9."""
    late = {"feedback": "none"}
    return {
        "N0": {"local": False, "attention": "none", **late},
        "N1": {"attention": "none", **late},
        "N2": {"local": False, **late},
        "N3": late,
        "N4": {},
        "N4-all": {"train_images": 0, "epochs": 14},
        "N4-votes": {"train_images": 0, "epochs": 40, "target": "votes"},
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


class Seen(NamedTuple):
    """What the network makes of a batch.

    Attributes:
        stages: the backbone's four maps, and, where there are regions, the map U that is cut into them.
        logits: (B, K), of the whole network.
        weight: (B, M), mean 1 over the regions; ``None`` without regions.
        heard: (B, M), the weights as the local networks get them; ``None`` where they get none.
        fused: (B, K), the local networks' logits, weighted; ``None`` without local networks.
        local: (B, M, K), each local network's logits; ``None`` without.
        joined: (B, D), what the head turns into the logits: the regions' part, then the backbone's.

    Explained in: book/lnl.ipynb
    """

    stages: list[Tensor]
    logits: Tensor
    joined: Tensor
    weight: Tensor | None = None
    heard: Tensor | None = None
    fused: Tensor | None = None
    local: Tensor | None = None


class LNL(Method):
    r"""A U-Net's map, cut into M regions; a local network for each, and non-local attention that weighs them.

    .. math:: h = \tfrac1M\textstyle\sum_m w_m f_m, \qquad o = \mathrm{FC}[h; \mathrm{GAP}(E)],
        \qquad \bar o = \tfrac1M\sum_m w_m o_m

    with the feature :math:`f_m` and the logits :math:`o_m` of local network m, and the backbone's last map E.

    Args:
        switches: see :class:`LNL.Switches`.
        backbone: the encoder; without regions it is the recognizer, as in the baseline.
        classes: how many emotions.

    Explained in: book/lnl.ipynb
    """

    @dataclass(frozen=True)
    class Switches:
        """Which parts there are, and who hears whom.

        Attributes:
            features: the map U: of a ``unet``, or of a ``flat`` one, without skips.
            side, overlap: of the grid of regions; see :func:`fer_lib.nets.regions.cut`.
            local: whether there is a network for each region; without, the tokens u are fused.
            attention, weight: see :class:`fer_lib.nets.regions.Weigher`.
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
        fused: float = 0.2
        each: float = 0.2
        evenness: float = 0.0

        def __post_init__(self):
            for name, values in CHOICES.items():
                if getattr(self, name) not in values:
                    raise FerError(f"{name} cannot be '{getattr(self, name)}': choose one of {', '.join(values)}.")
            if self.side < 2:
                raise FerError(f"side cannot be {self.side}: at least 2 regions each way.")

        @property
        def regional(self) -> bool:
            """Whether the map is cut into regions at all."""
            return self.local or self.attention != "none"

    name = "lnl"
    ROWS = _rows()

    def __init__(self, switches: Switches, backbone: Backbone, classes: int):
        super().__init__()
        self.switches, s = switches, switches
        self.backbone = backbone
        channels, width, fused = (16, 64, 0) if backbone.narrow else (64, 128, 0)
        if s.regional:
            fused = width if s.local else channels
            self.map = FeatureMap(backbone, channels, s.features == "unet")
            self.weigher = Weigher(s.attention, s.weight, s.side, channels)
        if s.local:
            self.local = LocalNetworks(s.side**2, channels, width, classes, s.feedback == "pre")
        self.head = nn.Linear(backbone.channels[-1] + fused, classes)

    def see(self, image: Tensor, weight: Tensor | None = None) -> Seen:
        """All that comes of images (B, C, H, W); ``weight`` (B, M) takes the place of the network's own."""
        s = self.switches
        stages = self.backbone(image)
        pooled = stages[3].mean(dim=(2, 3))
        if not s.regional:
            return Seen(stages, self.head(pooled), pooled)
        features = self.map(stages, image)  # (B, C, H, H)
        stages = [*stages, features]
        regions = cut(features, s.side, s.overlap)
        own, mixed = self.weigher(regions, features)
        weight = own if weight is None else weight
        share = (weight / s.side**2)[:, :, None]  # (B, M, 1)
        if not s.local:
            both = torch.cat([(share * mixed).sum(1), pooled], 1)
            return Seen(stages, self.head(both), both, weight)
        heard = None if s.feedback == "none" else weight if s.grad_feedback else weight.detach()
        feature, local = self.local(regions, heard)
        both = torch.cat([(share * feature).sum(1), pooled], 1)
        return Seen(stages, self.head(both), both, weight, heard, (share * local).sum(1), local)

    def forward(self, image: Tensor) -> Prediction:
        seen, side = self.see(image), self.switches.side
        maps = {} if seen.weight is None else {"weight": seen.weight.unflatten(1, (side, side))}
        return Prediction(seen.logits, seen.stages, maps)

    def losses(self, batch: Batch, stage: str, player: str) -> dict[str, Term]:
        s, seen, target = self.switches, self.see(batch.image), batch.target
        terms = {"cross-entropy": Term(F.cross_entropy(seen.logits.float(), target))}
        if s.local:
            targets = target[..., None].expand(*target.shape, s.side**2)  # (B, M), or (B, K, M)
            each = F.cross_entropy(seen.local.float().transpose(1, 2), targets, reduction="none")  # (B, M)
            terms["fused"] = Term(F.cross_entropy(seen.fused.float(), target), s.fused)
            terms["each region"] = Term((each if seen.heard is None else seen.heard * each).mean(), s.each)
        if s.evenness:
            terms["evenness"] = Term(torch.xlogy(seen.weight, seen.weight).mean(), s.evenness)
        if s.attention != "none" and not s.overlap and batch.mask is not None:
            # Watched, not lowered: how far the weights have come, and what even ones would have.
            weight, chosen = seen.weight.detach(), crucial(batch.mask, s.side)
            terms["weight on crucial regions"] = Term(share_on(weight, chosen).mean(), 0.0)
            terms["even weight on crucial regions"] = Term(share_on(torch.ones_like(weight), chosen).mean(), 0.0)
        return terms

    @torch.no_grad()
    def mechanism(self, loader: Loader, judge: Method | None = None) -> dict[str, Any]:
        """See :func:`fer_lib.methods.regional.measure`."""
        was_training = self.training
        figures = measure(self.eval(), loader)
        self.train(was_training)
        return figures
