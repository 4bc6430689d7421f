"""LL-FER: a network that lights up dark faces, trained together with the recognizer [xie2025llfer].

The paper states the cascade and the joint loss; LLENet's inside is our reference build.
"""

from dataclasses import dataclass
from itertools import product

import torch
import torch.nn.functional as F
from kornia.enhance import equalize, equalize_clahe
from kornia.losses import ssim_loss
from torch import Tensor, nn

from fer_lib.data.loader import Batch, Loader
from fer_lib.errors import FerError
from fer_lib.methods.cascade import READERS, Cascade, feature_distances
from fer_lib.methods.method import Term
from fer_lib.methods.zero_dce import STEPS, DCENet, light_curve, zero_reference
from fer_lib.nets.backbone import Backbone
from fer_lib.nets.blocks import UNet, zeroed

LEARNED = ("llenet", "zero_dce")
FIXED = ("none", "stretch", "gamma", "equalize", "clahe")
EPSILON = 1e-3


class LLENet(nn.Module):
    """U-Net features, a light curve for each pixel, and a detail image that is added.

    Both heads begin at zero, so that the network begins as the identity.

    Args:
        width: channels at full size.
        head: ``both``, ``curve`` or ``detail``; or ``retinex``, which divides the picture by a map
            of its illumination, from 0.05 (twenty times brighter) up.
        attention, skips: of the :class:`fer_lib.nets.blocks.UNet`.

    Shapes:
        (B, 1 or 3, H, W) in [0, 1] -> (B, 3, H, W), which the detail image may carry a little outside [0, 1].

    Explained in: book/ll_fer.ipynb
    """

    def __init__(self, width: int = 16, head: str = "both", attention: bool = True, skips: bool = True):
        super().__init__()
        self.head, self.unet = head, UNet(width, attention, skips)
        self.curve = zeroed(nn.Conv2d(width, 3 * STEPS, 3, padding=1)) if head in ("both", "curve") else None
        self.detail = zeroed(nn.Conv2d(width, 3, 3, padding=1)) if head in ("both", "detail") else None
        self.illumination = zeroed(nn.Conv2d(width, 3, 3, padding=1)) if head == "retinex" else None
        self.curves: Tensor | None = None

    def forward(self, image: Tensor) -> Tensor:
        image = image.expand(-1, 3, -1, -1)
        features = self.unet(image)
        if self.illumination is not None:
            return image * torch.exp(3 * torch.tanh(self.illumination(features).float()))
        light = image
        if self.curve is not None:
            curves = torch.tanh(self.curve(features).float())  # (B, 24, H, W)
            self.curves = curves if torch.is_grad_enabled() else None
            light = light_curve(image, curves)
        return light if self.detail is None else light + 0.5 * torch.tanh(self.detail(features).float())


class FixedEnhancer(nn.Module):
    """What needs no training: the control that a network has to beat.

    ``stretch`` divides each picture by its largest value; ``gamma`` raises it to the power that would
    bring a pixel of its mean brightness to 0.45; ``equalize`` and ``clahe`` (contrast limited, in 4 x 4 tiles) are kornia's.

    Explained in: book/ll_fer.ipynb
    """

    def __init__(self, kind: str):
        super().__init__()
        self.kind = kind

    def forward(self, image: Tensor) -> Tensor:
        image = image.expand(-1, 3, -1, -1).contiguous()
        if self.kind == "stretch":
            return image / image.amax((1, 2, 3), keepdim=True).clamp(min=1 / 255)
        if self.kind == "gamma":
            mean = image.mean((1, 2, 3), keepdim=True).clamp(1 / 255, 254 / 255)
            return image.clamp(min=1e-6) ** (torch.log(image.new_tensor(0.45)) / mean.log())
        if self.kind == "equalize":
            return equalize(image)
        return equalize_clahe(image, 4.0, (4, 4)) if self.kind == "clahe" else image


def charbonnier(image: Tensor, clean: Tensor) -> Tensor:
    r"""A smooth absolute difference [lai2017lapsrn]: the mean of :math:`\sqrt{d^2+\varepsilon^2}-\varepsilon`.

    Shapes:
        two of (B, C, H, W) -> scalar, 0 for equal images.

    Explained in: book/ll_fer.ipynb
    """
    square = (image - clean).square()
    # The same as the formula, and exactly 0 where it should be.
    return (square / ((square + EPSILON**2).sqrt() + EPSILON)).mean()


def roughness(curves: Tensor) -> Tensor:
    r"""How unsteady the light curve's maps are: mean of :math:`\|\nabla r\|^2` over places and maps.

    Explained in: book/ll_fer.ipynb
    """
    return F.mse_loss(curves[..., 1:], curves[..., :-1]) + F.mse_loss(curves[..., 1:, :], curves[..., :-1, :])


def _rows() -> dict[str, dict]:
    """The ablation table: all rows but A0 on faces each of which is mildly, medium or severely dark."""
    dark = {"degrade": "low_light:mixed"}
    alone, unguided = {**dark, "joint": False, "reader": "frozen"}, {"task": 0.0, "features": 0.0}
    any_light = {"degrade": "low_light:any"}
    rows = {
        "A0": {"restorer": "none", "joint": False, "reader": "frozen", "epochs": 1},
        "A1": {**alone, "restorer": "none", "epochs": 1},
        **{f"A2-{kind}": {**alone, "restorer": kind, "epochs": 1} for kind in FIXED[1:]},
        "A3": {**alone, "restorer": "none", "reader": "retrain"},
        "A3-any-light": {**alone, "restorer": "none", "reader": "retrain", **any_light},
        "A4": alone,
        "A4-zero-dce": {**alone, "restorer": "zero_dce"},
        "A5": {**alone, "reader": "finetune"},
        "A5-stretch": {**alone, "restorer": "stretch", "reader": "finetune"},
        "A6": {**dark, "reader": "frozen"},
        "A6-unguided": {**dark, "reader": "frozen", **unguided},
        "A7": dark,
        "A7-unguided": {**dark, **unguided},
        "A7-retrain": {**dark, "reader": "retrain"},
        "A7-any-light": any_light,
        "A8": {**dark, "pixel": 0.0, "features": 0.0, "warmup": 0.0},
        "A9-curve": {**dark, "head": "curve"},
        "A9-detail": {**dark, "head": "detail"},
        "A9-retinex": {**dark, "head": "retinex"},
        "A9-no-attention": {**dark, "attention": False},
        "A9-no-skips": {**dark, "skips": False},
        "A10-task-half": {**dark, "task": 0.1},
        "A10-task-double": {**dark, "task": 0.4},
    }
    # Other recognizers in the same cascade.
    others = (*product(("A1", "A4", "A7"), ("B0", "B4", "N0", "N4")), *product(("A7-unguided",), ("B4", "N4")))
    return rows | {f"{row}-{other}": {**rows[row], "recognizer": other} for row, other in others}


class LLFER(Cascade):
    """LLENet, then a recognizer; in the joint stage the recognizer steers LLENet.

    Explained in: book/ll_fer.ipynb
    """

    @dataclass(frozen=True)
    class Switches:
        """What restores, what is trained when, and what counts how much.

        Attributes:
            restorer: ``llenet``; ``zero_dce``, which learns from dark pictures alone; or a fixed control:
                ``none``, ``stretch``, ``gamma``, ``equalize``, ``clahe``.
            width, head, attention, skips: see :class:`LLENet`; width 0 is 8 beside a narrow recognizer, else 32.
            joint: whether a joint stage follows the restoring one.
            reader: the recognizer is ``frozen``, ``finetune`` (a twentieth of the learning rate, steady
                batch norm) or ``retrain`` (all of it), in the joint stage or, without one, after the restoring.
            recognizer: row of the baseline, of CLCL or of LNL, whose trained network the cascade begins with.
            pixel: weight of the reconstruction; 0 in the joint stage leaves the recognizer's wishes alone.
            ssim, smooth: weights of 1 - SSIM and of the curve's roughness beside it.
            task, features: pull of the cross-entropy and of the feature distance at the restored image,
                as a share of the reconstruction's pull, when the joint stage begins.
            warmup: share of the joint stage over which both grow from 0; 0 starts at once.

        Raises:
            FerError: if a value is none of these.

        Explained in: book/ll_fer.ipynb
        """

        restorer: str = "llenet"
        width: int = 0
        head: str = "both"
        attention: bool = True
        skips: bool = True
        joint: bool = True
        reader: str = "finetune"
        recognizer: str = "R0"
        pixel: float = 1.0
        ssim: float = 0.5
        smooth: float = 0.1
        task: float = 0.2
        features: float = 0.2
        warmup: float = 0.25

        def __post_init__(self):
            known = {"restorer": (*LEARNED, *FIXED), "head": ("both", "curve", "detail", "retinex"), "reader": READERS}
            for name, values in known.items():
                if getattr(self, name) not in values:
                    raise FerError(f"{name} cannot be '{getattr(self, name)}': choose one of {', '.join(values)}.")
            if self.joint and self.restorer in FIXED:
                raise FerError(f"The restorer '{self.restorer}' cannot learn, so joint must be false.")

    name = "ll_fer"
    GUIDES = ("cross-entropy", "feature distance")
    ROWS = _rows()

    def __init__(self, switches: Switches, backbone: Backbone, classes: int):
        s = switches
        width = s.width or (8 if backbone.narrow else 32)
        if s.restorer == "zero_dce":
            restorer = DCENet()
        else:
            learned = s.restorer == "llenet"
            restorer = LLENet(width, s.head, s.attention, s.skips) if learned else FixedEnhancer(s.restorer)
        super().__init__(switches, restorer, backbone, classes)

    def reconstruction(self, restored: Tensor, clean: Tensor, image: Tensor) -> dict[str, Term]:
        if isinstance(self.restorer, DCENet):
            return zero_reference(restored, image.expand_as(restored), self.restorer.curves)
        clean = clean.expand_as(restored)
        terms = {
            "charbonnier": Term(charbonnier(restored, clean)),
            # kornia halves 1 - SSIM.
            "ssim": Term(ssim_loss(restored, clean, 11), 2 * self.switches.ssim),
        }
        if self.restorer.curve is not None:
            terms["roughness"] = Term(roughness(self.restorer.curves), self.switches.smooth)
        return terms

    def guidance(self, restored: Tensor, clean: Tensor, batch: Batch) -> dict[str, tuple[Tensor, float]]:
        seen = self.recognizer(restored)
        asked = {}
        if self.switches.task:
            asked["cross-entropy"] = (F.cross_entropy(seen.logits.float(), batch.target), self.switches.task)
        if self.switches.features:
            with torch.no_grad():
                wanted = self.reference(clean).stages
            distances = feature_distances(self.reference(restored).stages, wanted)
            asked["feature distance"] = (torch.stack([d.mean() for d in distances]).sum(), self.switches.features)
        return asked

    def conditions(self, loader: Loader) -> list[str]:
        return ["", "low_light:mild", "low_light:medium", "low_light:severe"]
