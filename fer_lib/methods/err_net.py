"""ERR-Net: the network that removes an expression, and recognizes it by what it removed [li2023errnet].

The abstract states residuals of pixels and of landmarks, a code with segments, and a GAN; all else is our reference build.
"""

from copy import deepcopy
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fer_lib.data.loader import Batch, Loader
from fer_lib.errors import FerError
from fer_lib.methods.method import Method, Player, Prediction, Stage, Term
from fer_lib.methods.removal import measure
from fer_lib.methods.twins import POINTS, neutral_of, share_left, true_motion
from fer_lib.nets.adversary import ADVERSARIES, Discriminator, criticism, fooling
from fer_lib.nets.backbone import Backbone
from fer_lib.nets.segments import Decoder, SegmentScores, gated, opened, segment_margin, squash

CHOICES = {
    "output": ("residual", "neutral", "none"),
    "head": ("length", "linear"),
    "gate": ("label", "predicted", "none"),
    "skips": ("swapped", "own", "none"),
    "adversary": ADVERSARIES,
    "reads": ("code", "difference"),
}


def _rows() -> dict[str, dict[str, Any]]:
    """The ablation table of the paper file, E0-E9, and controls."""
    bare = {"landmarks": False, "margin": 0.0, "adversary": "none", "auxiliary": 0.0}
    return {
        "E0": {"output": "none", **bare},
        "E1": bare,
        "E2": {**bare, "landmarks": True},
        "E3": {"adversary": "none", "auxiliary": 0.0},
        "E4": {"adversary": "vanilla", "auxiliary": 0.0},
        "E4-wgan-gp": {"adversary": "wgan-gp", "auxiliary": 0.0},
        "E4-hinge": {"auxiliary": 0.0},
        "E5": {},
        "E5-linear": {"head": "linear"},
        "E5-stop": {"teaches": False},
        "E5-loud": {"realism": 0.2},
        "E5-nozero": {"zero": False},
        "E5-pixels": {"landmarks": False},
        "E6": {"output": "neutral", "skips": "own"},
        "E7": {"reads": "difference", "gate": "none"},
        "E8-predicted": {"gate": "predicted"},
        "E8-none": {"gate": "none"},
        "E9-own": {"skips": "own"},
        "E9-noskips": {"skips": "none"},
        "E9-d8": {"depth": 8},
        "E9-d32": {"depth": 32},
    }


class Seen(NamedTuple):
    """What the network makes of a batch.

    Attributes:
        stages: maps of the encoder.
        code: (B, K - 1, d), a segment for each expression; neutral, class 0, has none.
        logits: (B, K).
        residual: (B, 3, H, W) in [-1, 1], to be taken from the image; ``None`` without a decoder.
        motion: (B, 68, 2), how the expression moves the landmarks, in distances between the eyes; or ``None``.
        calm: (B // 2, K - 1, d), code of the neutral twins that were seen beside the faces, or ``None``.
        still: (B // 2, 3, H, W), what is taken from these twins if their likeliest expression opens the gate, or ``None``.

    Explained in: book/err_net.ipynb
    """

    stages: list[Tensor]
    code: Tensor
    logits: Tensor
    residual: Tensor | None = None
    motion: Tensor | None = None
    calm: Tensor | None = None
    still: Tensor | None = None


class ERRNet(Method):
    r"""Encoder, code of segments, gate, decoder; the face minus what comes out is the neutral face.

    .. math:: \hat R = \tanh D(g_k \odot z,\, x), \qquad \hat n = \operatorname{clip}(x - \hat R, 0, 1)

    Args:
        switches: see :class:`ERRNet.Switches`.
        backbone: the encoder.
        classes: how many emotions, neutral among them as class 0.

    Explained in: book/err_net.ipynb
    """

    @dataclass(frozen=True)
    class Switches:
        """Which parts there are, and what each counts.

        Attributes:
            output: what the decoder draws: the ``residual``, the ``neutral`` face itself, or ``none``: no decoder.
            depth: numbers to a segment, d.
            head: how the code is read: by the ``length`` of its segments, or by a ``linear`` layer.
            gate: which segment the decoder gets: in training that of the true ``label`` or of the ``predicted``
                class, in use always that of the predicted one; ``none``: all of them.
            lean: by how much an expression's logit has to be above that of neutral before the gate opens in use.
            zero: whether neutral twins are decoded in training, too, through the segment of their likeliest
                expression, with a true residual of zero.
            skips: the decoder's maps come from the face (``own``), from its neutral twin for every other face
                of a training batch (``swapped``), or there are ``none``.
            teaches: whether the encoder learns from the decoder's and the landmarks' losses, too.
            landmarks: whether landmarks are moved back, too.
            adversary: ``none``, ``vanilla``, ``hinge``, ``wgan-gp``; see :mod:`fer_lib.nets.adversary`.
            reads: what is recognized: the ``code``, or the ``difference`` of face and estimate, by a network of its own.
            pixel, motion, margin, realism, sparse: factors of the loss terms; ``realism`` of the adversary's.
            auxiliary: factor of how surely the estimate is called neutral by a second head of the discriminator, which
                learns to name expressions; 0 is without that head.
            warmup: share of the training before the adversary is heard.

        Raises:
            FerError: if a value is none of these, or two do not go together.

        Explained in: book/err_net.ipynb
        """

        output: str = "residual"
        depth: int = 16
        head: str = "length"
        gate: str = "label"
        lean: float = 1.0
        zero: bool = True
        skips: str = "swapped"
        teaches: bool = True
        landmarks: bool = True
        adversary: str = "hinge"
        reads: str = "code"
        pixel: float = 1.0
        motion: float = 0.5
        margin: float = 0.5
        realism: float = 0.05
        auxiliary: float = 0.5
        sparse: float = 1.0
        warmup: float = 0.3

        def __post_init__(self):
            for name, values in CHOICES.items():
                if getattr(self, name) not in values:
                    raise FerError(f"{name} cannot be '{getattr(self, name)}': choose one of {', '.join(values)}.")
            for name in ("lean", "pixel", "motion", "margin", "realism", "auxiliary", "sparse", "warmup"):
                if not 0 <= getattr(self, name) < (1 if name == "warmup" else float("inf")):
                    raise FerError(f"{name} cannot be {getattr(self, name)}: a factor is 0 or more, and warmup below 1.")
            if self.depth < 1:
                raise FerError(f"depth cannot be {self.depth}: a segment has at least one number.")
            if self.output == "none" and (self.adversary != "none" or self.reads == "difference" or self.landmarks):
                raise FerError("Without output there is no estimate: take adversary=none, reads=code and landmarks=false.")
            if self.output == "neutral" and self.skips == "swapped":
                raise FerError("With output=neutral the twin's maps would be the answer: take skips=own or none.")
            if self.reads == "difference" and self.gate == "label":
                raise FerError("With reads=difference a gate by label would tell the answer: take gate=none or predicted.")
            if self.auxiliary and self.adversary == "none":
                raise FerError("The auxiliary head belongs to an adversary: take auxiliary=0, or an adversary.")

    name = "err_net"
    judged_by = "R0"
    ROWS = _rows()

    def __init__(self, switches: Switches, backbone: Backbone, classes: int):
        super().__init__()
        self.switches, s, self.classes = switches, switches, classes
        self.encoder, length = backbone, (classes - 1) * s.depth
        self.code = nn.Linear(backbone.channels[-1], length)
        self.read = SegmentScores(classes, s.depth, s.head == "linear")
        if s.output != "none":
            width, opens = 32 if backbone.narrow else 64, s.output == "residual"
            self.decoder = Decoder(length, backbone.channels, backbone.stride, width, s.skips != "none", opens)
        if s.landmarks:
            last = nn.Linear(64, 2 * POINTS, bias=False)
            nn.init.zeros_(last.weight)
            self.mover = nn.Sequential(nn.Linear(length, 64, bias=False), nn.ReLU(), last)
        if s.reads == "difference":
            self.reader = deepcopy(backbone)
            self.answer = nn.Linear(backbone.channels[-1], classes)
        if s.adversary != "none":
            self.discriminator = Discriminator(classes, 16 if backbone.narrow else 48, bool(s.auxiliary))
        self._made: tuple[Batch, Tensor] | None = None

    @classmethod
    def needs(cls, switches: Switches) -> frozenset[str]:
        # Rows without a decoder, too: they are to be measured on the very same faces.
        return frozenset({"neutral"} | ({"landmarks", "neutral_landmarks"} if switches.landmarks else set()))

    def stages(self) -> tuple[Stage, ...]:
        modules = tuple(name for name, _ in self.named_children() if name != "discriminator")
        players = [Player("generator", modules)]
        if self.switches.adversary != "none":
            players.append(Player("discriminator", ("discriminator",), 0.5))
        return (Stage("train", tuple(players)),)

    def encode(self, image: Tensor) -> tuple[list[Tensor], Tensor]:
        """Images (B, 1 or 3, H, W) -> the encoder's maps and the code (B, K - 1, d)."""
        stages = self.encoder(image)
        flat = self.code(stages[-1].mean(dim=(2, 3))).float()
        return stages, squash(flat.unflatten(1, (self.classes - 1, self.switches.depth)))

    def decode(self, code: Tensor, maps: list[Tensor], image: Tensor, source: Tensor) -> Tensor:
        """The residual (B, 3, H, W) that a gated code takes from ``image``; maps and pixels for the skips are ``source``'s."""
        drawn = self.decoder(code.flatten(1), maps, source).float()
        return torch.tanh(drawn) if self.switches.output == "residual" else image - (0.5 + drawn)

    def see(self, image: Tensor, label: Tensor | None = None, twin: Tensor | None = None) -> Seen:
        """All that comes of images (B, 1 or 3, H, W) in [0, 1].

        Args:
            label: int64 (B,), whose segments the decoder gets; ``None``: those that :func:`opened` names.
            twin: (B, 3, H, W), neutral faces; every other one is seen, too, and may lend its maps to the decoder.
        """
        s, image = self.switches, image.expand(-1, 3, -1, -1)
        maps, code = self.encode(image if twin is None else torch.cat([image, twin[1::2]]))
        stages, calm, source, still = [x[: len(image)] for x in maps], code[len(image) :], image, None
        heard, lent = (code, maps) if s.teaches else (code.detach(), [x.detach() for x in maps])
        code, kept, rest = code[: len(image)], heard[: len(image)], heard[len(image) :]
        logits = self.read(code)
        if s.output == "none":
            return Seen(stages, code, logits)
        if s.gate != "none":
            kept = gated(kept, opened(logits, s.lean) if label is None else label)
        if s.zero and len(calm):  # a batch of one face has no other one
            shown = rest if s.gate == "none" else gated(rest, self.read(calm)[:, 1:].argmax(1) + 1)
            still = self.decode(shown, [x[len(image) :] for x in lent], twin[1::2], twin[1::2])
        if twin is not None and s.skips == "swapped":
            lent = [_every_other(x[: len(image)], x[len(image) :]) for x in lent]
            source = _every_other(image, twin[1::2])
        residual = self.decode(kept, [x[: len(image)] for x in lent], image, source)
        moved = self.mover(kept.flatten(1)).float().unflatten(1, (POINTS, 2)) if s.landmarks else None
        if s.reads == "difference":
            logits = self.answer(self.reader(0.5 + residual.detach() / 2)[-1].mean(dim=(2, 3)))
        return Seen(stages, code, logits, residual, moved, None if twin is None else calm, still)

    def forward(self, image: Tensor) -> Prediction:
        seen = self.see(image)
        maps = {"code": seen.code, "residual": seen.residual, "motion": seen.motion}
        if seen.residual is not None:
            maps["neutral"] = (image - seen.residual).clamp(0, 1)
        return Prediction(seen.logits, seen.stages, {name: x for name, x in maps.items() if x is not None})

    def losses(self, batch: Batch, stage: str, player: str) -> dict[str, Term]:
        if player == "discriminator":
            return self._criticize(batch)
        s, label, draws = self.switches, batch.label, self.switches.output != "none"
        rest, image = neutral_of(batch) if draws else None, batch.image.expand(-1, 3, -1, -1)
        seen = self.see(image, label if s.gate == "label" else None, rest)
        terms = {"cross-entropy": Term(F.cross_entropy(seen.logits.float(), batch.target))}
        if s.margin:
            both = seen.code if seen.calm is None else torch.cat([seen.code, seen.calm])
            named = F.pad(label, (0, len(both) - len(label)))  # the twins are neutral, class 0
            terms["margin"] = Term(segment_margin(both.norm(dim=2), named), s.margin)
        if not draws:
            return terms
        drawn, true = seen.residual, image - rest
        if seen.still is not None:  # pictures like any other, with nothing to remove
            drawn, true = torch.cat([drawn, seen.still]), torch.cat([true, torch.zeros_like(seen.still)])
        terms["pixel"] = Term(share_left(drawn, true), s.pixel)
        if s.sparse:
            terms["sparsity"] = Term(seen.residual.abs().mean(), s.sparse)
        if s.landmarks:
            terms["landmark"] = Term(share_left(seen.motion, true_motion(batch)), s.motion)
        if s.adversary != "none":
            estimate = (image - seen.residual).clamp(0, 1)
            self._made = (batch, estimate.detach())
            if self.progress >= s.warmup:
                asked = fooling(self.discriminator, s.adversary, image, estimate)
                terms |= {name: Term(value, getattr(s, name)) for name, value in asked.items()}
        return terms

    def _criticize(self, batch: Batch) -> dict[str, Term]:
        s, image, rest = self.switches, batch.image.expand(-1, 3, -1, -1), neutral_of(batch)
        made, self._made = self._made, None
        if made is None or made[0] is not batch:
            with torch.no_grad():
                seen = self.see(image, batch.label if s.gate == "label" else None)
                made = batch, (image - seen.residual).clamp(0, 1)
        said = criticism(self.discriminator, s.adversary, image, rest, made[1], batch.label)
        return {name: Term(value) for name, value in said.items()}

    def mechanism(self, loader: Loader, judge: Method | None = None) -> dict[str, Any]:
        """See :func:`fer_lib.methods.removal.measure`."""
        was_training = self.training
        figures = measure(self.eval(), loader, judge)
        self.train(was_training)
        return figures


def _every_other(own: Tensor, lent: Tensor) -> Tensor:
    """Rows 0, 2 ... of the one, and the rows of the other between them."""
    mixed = own.clone()
    mixed[1::2] = lent
    return mixed
