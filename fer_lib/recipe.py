"""How a run is sized and trained, and on which device."""

import math
from pathlib import Path
from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, field_validator

from fer_lib.data.degradation import Degradation
from fer_lib.errors import FerError


class Recipe(BaseModel):
    """How a run is sized and trained: everything that is not the method's own.

    Attributes:
        backbone, stem_stride, weights: see :class:`fer_lib.nets.backbone.Backbone`.
        size: side of the images in pixels.
        train_images, val_images, test_images: at most so many faces (0: all there are);
            procedural faces are generated in this number.
        difficulty: of procedural faces, 0-1; below 0 the generator's default.
        epochs: passes over the training faces, all stages together.
        batch_size: faces per step.
        optimizer: ``adamw`` or ``sgd`` (Nesterov momentum 0.9).
        lr: highest learning rate; it warms up linearly, then falls as a cosine to zero.
        warmup: epochs of warm-up.
        weight_decay: on weights of two or more dimensions, not on biases and norms.
        clip: largest norm of a player's gradient; 0 does not clip.
        ema: decay per step of the averaged weights that are then reported; 0 is none.
        patience: epochs without a better validation accuracy before training stops; 0 never.
        precision: ``bf16`` mixed, ``fp32``, or ``auto``: bf16 where the device is built for it.
        sampler: in which order training faces are drawn: ``shuffled``, or ``balanced`` so that all
            classes are drawn equally often (:class:`fer_lib.data.loader.Loader`).
        degrade: what spoils every image, ``low_light:severe``, ``low_resolution:4`` ...
            (:class:`fer_lib.data.degradation.Degradation`); "" is nothing.
        augment: strength of :class:`fer_lib.data.loader.Augmentation`; 0 is none at all.
        target: what the emotion's cross-entropy is taken against in training (:class:`fer_lib.data.loader.Loader`):
            ``hard`` the majority label, ``smooth`` the label smoothed by ``smoothing``, ``votes`` the annotators' distribution.
        smoothing: the ε of label smoothing, in [0, 1).

    Explained in: book/baseline.ipynb
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    backbone: str = "resnet18"
    stem_stride: int = 4
    weights: str = ""
    size: int = Field(112, ge=16)
    train_images: int = Field(0, ge=0)
    val_images: int = Field(0, ge=0)
    test_images: int = Field(0, ge=0)
    difficulty: float = Field(-1.0, le=1)
    epochs: int = Field(60, ge=1)
    batch_size: int = Field(128, ge=1)
    optimizer: Literal["adamw", "sgd"] = "adamw"
    lr: float = Field(2e-3, gt=0)
    warmup: float = Field(1.0, ge=0)
    weight_decay: float = Field(0.05, ge=0)
    clip: float = Field(5.0, ge=0)
    ema: float = Field(0.0, ge=0, lt=1)
    patience: int = Field(0, ge=0)
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    sampler: Literal["shuffled", "balanced"] = "shuffled"
    degrade: str = ""
    augment: float = Field(1.0, ge=0)
    target: Literal["hard", "smooth", "votes"] = "hard"
    smoothing: float = Field(0.1, ge=0, lt=1)

    @field_validator("degrade")
    @classmethod
    def _known(cls, text: str) -> str:
        Degradation.of(text)
        return text


def warm_cosine(step: int, steps: int, warm: int) -> float:
    r"""Factor of the learning rate: linear warm-up, then a cosine to zero [loshchilov2017sgdr].

    .. math:: \tfrac12\bigl(1+\cos\pi\tfrac{t-w}{T-w}\bigr)\quad\text{for } t \ge w,\qquad \tfrac{t+1}{w}\text{ before}

    Explained in: book/baseline.ipynb
    """
    if step < warm:
        return (step + 1) / warm
    return 0.5 * (1 + math.cos(math.pi * min((step - warm) / max(steps - warm, 1), 1.0)))


def pick_device(name: str = "auto") -> torch.device:
    """``auto`` is the first NVIDIA or Apple GPU where there is one, else the CPU.

    Raises:
        FerError: if the device is not on this machine.

    Explained in: book/baseline.ipynb
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        torch.zeros(1, device=name).item()
    except (RuntimeError, AssertionError) as error:
        raise FerError(f"Device '{name}' is not on this machine: take 'cpu' or 'auto'.") from error
    return torch.device(name)


def mixed_precision(recipe: Recipe, device: torch.device) -> bool:
    """Whether the forward pass runs in bfloat16: on request, or where the device has instructions for it.

    ``auto`` knows NVIDIA GPUs, and under Linux the x86 processors that list ``amx_bf16`` or ``avx512_bf16``; elsewhere it is fp32.

    Explained in: book/baseline.ipynb
    """
    if recipe.precision != "auto":
        return recipe.precision == "bf16"
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    # Both multiply 16-bit numbers and add in 32: a matrix unit, and its forerunner that also AMD builds.
    return device.type == "cpu" and any(flag in _cpu_flags() for flag in ("amx_bf16", "avx512_bf16"))


def _cpu_flags() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    return cpuinfo.read_text() if cpuinfo.is_file() else ""
