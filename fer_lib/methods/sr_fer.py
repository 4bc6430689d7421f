"""SR-FER: super-resolution for small faces that keeps what a recognizer attends to and predicts [xie2024srfer].

The paper states the cascade and the two consistency losses; networks and maps are our reference build.
"""

from dataclasses import dataclass
from itertools import product

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fer_lib.data.degrade import SCALES, upsample
from fer_lib.data.loader import Batch, Loader
from fer_lib.errors import FerError
from fer_lib.methods.cascade import READERS, Cascade, energy_map
from fer_lib.methods.method import Term
from fer_lib.nets.backbone import Backbone
from fer_lib.nets.blocks import ResidualBlock, zeroed

NETS = ("fsrcnn", "edsr_s", "rcan_s")


class SuperResolver(nn.Module):
    """A residual over the bicubic enlargement, zero at first; an image of full size passes unchanged.

    ``fsrcnn`` [dong2016fsrcnn] narrows to a quarter of its channels between its ends and enlarges by one transposed
    convolution; ``edsr_s`` [lim2017edsr] is a chain of residual blocks without batch norm, ``rcan_s``
    [zhang2018image] two groups of them with channel attention; both enlarge by pixel shuffles.

    Args:
        net: one of the three, or ``bicubic``: the enlargement alone.
        scale: 2, 4 or 8.
        size: side of the restored image in pixels.
        width: channels (of ``fsrcnn``'s ends; it shrinks to a quarter between them).

    Shapes:
        (B, 1 or 3, h, w) in [0, 1] -> (B, 3, size, size).

    Explained in: book/sr_fer.ipynb
    """

    def __init__(self, net: str, scale: int, size: int, width: int = 32):
        super().__init__()
        self.size, self.scale = size, scale
        self.body = None if net == "bicubic" else _fsrcnn(width, scale) if net == "fsrcnn" else _shuffler(net, width, scale)

    def forward(self, image: Tensor) -> Tensor:
        image = image.expand(-1, 3, -1, -1)
        if image.shape[-1] == self.size:
            return image
        large = upsample(image, self.size)
        if self.body is None:
            return large
        residual = self.body(image).float()
        if residual.shape[-1] != self.size:
            residual = F.interpolate(residual, size=(self.size, self.size), mode="bilinear", align_corners=False)
        return large + residual


def class_map(stage: Tensor, weight: Tensor, label: Tensor) -> Tensor:
    r"""Class activation map of each face's own label [zhou2016cam], from 0 to 1: :math:`\sum_c W_{yc} F_c`, min-max normalized.

    Shapes:
        stage (B, C, H, W), weight (K, C), label int64 (B,) -> (B, H * W).

    Explained in: book/sr_fer.ipynb
    """
    raw = (weight[label].float()[:, :, None, None] * stage.float()).sum(1).flatten(1)
    low, high = raw.amin(1, keepdim=True), raw.amax(1, keepdim=True)
    return (raw - low) / (high - low).clamp(min=1e-6)


def attention_consistency(
    stages: list[Tensor], wanted: list[Tensor], weight: Tensor | None, label: Tensor, which: str = "1234"
) -> Tensor:
    r"""How differently two images of a face are attended to, over several stages.

    .. math:: \mathcal L_{att} = \sum_{k=1}^{3} \|Q_k(\hat x) - Q_k(x)\|_2^2 + \tfrac{1}{|A|} \|A(\hat x) - A(x)\|_2^2,

    mean over the batch; here :math:`Q_k` is the energy map already divided by its norm, and :math:`A` the label's
    class activation map of stage 4, whose values lie in [0, 1]: each summand is at most 2, however
    many places a stage has. No gradient flows to ``wanted``.

    Args:
        stages, wanted: four stage maps each, of the restored and of the original image.
        weight: (K, C), of the linear head; ``None`` if stage 4 does not count.
        label: int64 (B,).
        which: the stages that count, as digits.

    Explained in: book/sr_fer.ipynb
    """
    total = stages[0].new_zeros((), dtype=torch.float32)
    for k in map(int, which):
        maps = [class_map(s[3], weight, label) if k == 4 else energy_map(s[k - 1]) for s in (stages, wanted)]
        apart = (maps[0] - maps[1].detach()).square()  # (B, H * W)
        total = total + (apart.mean() if k == 4 else apart.sum(1).mean())
    return total


def prediction_consistency(logits: Tensor, wanted: Tensor) -> Tensor:
    r"""Kullback-Leibler divergence from what is predicted on the original image [hinton2015distilling]:
    :math:`\mathrm{KL}(\sigma(z)\,\|\,\sigma(\hat z))`, mean over the batch; no gradient flows to ``wanted``.

    Shapes:
        two of (B, K) -> scalar, 0 for equal logits.

    Explained in: book/sr_fer.ipynb
    """
    target = F.log_softmax(wanted.detach().float(), 1)
    return F.kl_div(F.log_softmax(logits.float(), 1), target, reduction="batchmean", log_target=True)


def _rows() -> dict[str, dict]:
    """The ablation table at a quarter of the pixels' width, and its pillars at a half and an eighth."""
    small, alone = {"degrade": "low_resolution:4"}, {"joint": False, "reader": "frozen"}
    bicubic = {**alone, "restorer": "bicubic", "epochs": 1}
    unguided = {"attention": 0.0, "prediction": 0.0}
    rows = {
        "S0": bicubic,
        "S1": {**small, **bicubic},
        "S2": {**small, **alone},
        "S3": {**small, "prediction": 0.0},
        "S4": {**small, "attention": 0.0},
        "S5": small,
        "S5-unguided": {**small, **unguided},
        "S5-retrain": {**small, "reader": "retrain"},
        "S6": {**small, **unguided, "task": 0.4},
        "S7-4": {**small, "stages": "4"},
        "S7-34": {**small, "stages": "34"},
        "S8-retrain": {**small, "restorer": "bicubic", "joint": False, "reader": "retrain"},
        "S8-finetune": {**small, "joint": False, "reader": "finetune"},
        **{
            f"S9-{name}{kind}": {**small, **changes, "restorer": net}
            for name, net in (("fsrcnn", "fsrcnn"), ("rcan", "rcan_s"))
            for kind, changes in (("", {}), ("-alone", alone), ("-unguided", unguided))
        },
        "S10": {**small, "reader": "frozen"},
        "S10-unguided": {**small, "reader": "frozen", **unguided},
    }
    # Other recognizers in the same cascade, and darkness on top of the small size.
    for row, other in (*product(("S1", "S2", "S5"), ("B0", "B4", "N0", "N4")), *product(("S5-unguided",), ("B4", "N4"))):
        rows[f"{row}-{other}"] = {**rows[row], "recognizer": other, "stages": "123"}
    dark = {"degrade": f"{small['degrade']}+low_light:mixed"}
    rows |= {f"{row}-dark": {**rows[row], **dark} for row in ("S1", "S2", "S5", "S5-unguided", "S8-retrain")}
    for scale in (2, 8):
        other = {"degrade": f"low_resolution:{scale}", "scale": scale}
        again = ("S1", "S2", "S5", "S5-unguided", "S6", "S8-retrain", "S8-finetune", "S10", "S10-unguided")
        rows |= {f"{row}x{scale}": {**rows[row], **other} for row in again}
    return rows


class SRFER(Cascade):
    """A super-resolver, then a recognizer; in the joint stage the two consistencies steer the super-resolver.

    Explained in: book/sr_fer.ipynb
    """

    @dataclass(frozen=True)
    class Switches:
        """What restores, what is trained when, and what counts how much.

        Attributes:
            restorer, scale, width: see :class:`SuperResolver`; ``scale`` must be that of the degradation,
                and width 0 is 32 beside a narrow recognizer, else 64.
            joint, reader, pixel, warmup: as in :class:`fer_lib.methods.ll_fer.LLFER.Switches`.
            recognizer: row of the baseline, of CLCL or of LNL, whose trained network the cascade begins with.
            attention, prediction, task: pull of the attention consistency, the prediction consistency and
                the cross-entropy at the restored image, as a share of the pixels' pull; 0 leaves it out.
            stages: which stages the attention is compared at, as digits.
            attention_net: ``frozen``: maps of the recognizer as it was on clean faces; ``shared``: of the
                one that is being tuned, for both images.

        Raises:
            FerError: if a value is none of these.

        Explained in: book/sr_fer.ipynb
        """

        restorer: str = "edsr_s"
        scale: int = 4
        width: int = 0
        joint: bool = True
        reader: str = "finetune"
        recognizer: str = "R0"
        pixel: float = 1.0
        attention: float = 0.2
        prediction: float = 0.2
        task: float = 0.0
        warmup: float = 0.25
        stages: str = "1234"
        attention_net: str = "frozen"

        def __post_init__(self):
            known = {"restorer": (*NETS, "bicubic"), "reader": READERS, "attention_net": ("frozen", "shared")}
            for name, values in {**known, "scale": SCALES}.items():
                if getattr(self, name) not in values:
                    listed = ", ".join(map(str, values))
                    raise FerError(f"{name} cannot be '{getattr(self, name)}': choose one of {listed}.")
            if not self.stages or set(self.stages) - set("1234"):
                raise FerError(f"stages cannot be '{self.stages}': write the numbers of stages, as 34 or 1234.")
            if self.joint and self.attention and "4" in self.stages and not self.recognizer.startswith("R"):
                raise FerError(f"Stage 4's map needs a linear head: with recognizer={self.recognizer} take stages=123.")
            if self.joint and self.restorer == "bicubic":
                raise FerError("The restorer 'bicubic' cannot learn, so joint must be false.")

    name = "sr_fer"
    GUIDES = ("attention", "prediction", "cross-entropy")
    ROWS = _rows()

    def __init__(self, switches: Switches, backbone: Backbone, classes: int):
        width = switches.width or (32 if backbone.narrow else 64)
        restorer = SuperResolver(switches.restorer, switches.scale, backbone.size, width)
        super().__init__(switches, restorer, backbone, classes)

    def reconstruction(self, restored: Tensor, clean: Tensor, image: Tensor) -> dict[str, Term]:
        return {"pixels": Term(F.l1_loss(restored, clean.expand_as(restored)))}

    def guidance(self, restored: Tensor, clean: Tensor, batch: Batch) -> dict[str, tuple[Tensor, float]]:
        s, asked = self.switches, {}
        with torch.no_grad():
            wanted = self.reference(clean)
        # A frozen recognizer is the reference: one pass through it serves both.
        read = self.recognizer(restored) if s.reader != "frozen" else self.reference(restored)
        if s.attention and s.attention_net == "frozen":
            maps = read.stages if s.reader == "frozen" else self.reference(restored).stages
            weight = self.reference.head.weight if "4" in s.stages else None
            asked["attention"] = (attention_consistency(maps, wanted.stages, weight, batch.label, s.stages), s.attention)
        elif s.attention:
            with torch.no_grad():
                moving = self.recognizer(clean).stages
            weight = self.recognizer.head.weight.detach() if "4" in s.stages else None
            asked["attention"] = (attention_consistency(read.stages, moving, weight, batch.label, s.stages), s.attention)
        if s.prediction:
            asked["prediction"] = (prediction_consistency(read.logits, wanted.logits), s.prediction)
        if s.task:
            asked["cross-entropy"] = (F.cross_entropy(read.logits.float(), batch.target), s.task)
        return asked

    def conditions(self, loader: Loader) -> list[str]:
        scale = self.switches.scale
        return ["", f"low_resolution:{scale}", f"realistic_low_resolution:{scale}"]


def _fsrcnn(width: int, scale: int) -> nn.Sequential:
    thin = max(width // 4, 8)
    middle = [layer for _ in range(4) for layer in (nn.Conv2d(thin, thin, 3, padding=1), nn.PReLU(thin))]
    last = nn.ConvTranspose2d(width, 3, 9, stride=scale, padding=4, output_padding=scale - 1)
    return nn.Sequential(
        nn.Conv2d(3, width, 5, padding=2), nn.PReLU(width), nn.Conv2d(width, thin, 1), nn.PReLU(thin), *middle,
        nn.Conv2d(thin, width, 1), nn.PReLU(width), zeroed(last),
    )  # fmt: skip


def _shuffler(net: str, width: int, scale: int) -> nn.Sequential:
    blocks = [ResidualBlock(width, attention=net == "rcan_s") for _ in range(8)]
    groups = [_Skip(nn.Sequential(*blocks[k : k + 4])) for k in (0, 4)] if net == "rcan_s" else blocks
    ups = [layer for _ in range(scale.bit_length() - 1) for layer in (nn.Conv2d(width, 4 * width, 3, padding=1), nn.PixelShuffle(2))]
    return nn.Sequential(
        nn.Conv2d(3, width, 3, padding=1), _Skip(nn.Sequential(*groups)), *ups, zeroed(nn.Conv2d(width, 3, 3, padding=1))
    )


class _Skip(nn.Module):
    """Adds its input to what the body makes of it."""

    def __init__(self, body: nn.Module):
        super().__init__()
        self.body = body

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)
