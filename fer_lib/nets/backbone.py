"""The recognizer's body: an image goes in, the maps of its four stages come out."""

from pathlib import Path

import timm
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from fer_lib.data.degrade import upsample
from fer_lib.errors import FerError

# ResNets for small faces on two CPU cores: timm's resnet18, half as wide, some half as deep,
# and three 3x3 convolutions for the first 7x7, which loses fine detail.
_NARROW = {"channels": (32, 64, 128, 256), "stem_type": "deep", "stem_width": 16}
SMALL = {
    "resnet10_narrow": {"layers": (1, 1, 1, 1), **_NARROW},
    "resnet18_narrow": {"layers": (2, 2, 2, 2), **_NARROW},
}
# Channels and places (height times width of the map) from which and up to which a product is faster.
WIDE, FEW = 256, 16
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Backbone(nn.Module):
    """Four stage maps of an image, each half as large as the one before.

    Any timm model that offers stage maps serves, by its timm name; besides,
    ``resnet10_narrow`` and ``resnet18_narrow`` for two CPU cores. The default
    is ResNet-18 [he2016deep]. Grey images are repeated to three channels,
    and pixels are standardized by ImageNet's mean and deviation.

    Args:
        name: a key of ``SMALL`` or a timm model's name.
        stem_stride: how much the stem shrinks the image before the first stage:
            4 as published, 2 without the max pooling, 1 also without the stride
            of the first convolution. Only ResNets can take 2 or 1; small faces need it.
        weights: a local safetensors file with the timm model's own parameter names, or "".
        size: side in pixels to which images of another size are brought first (bicubic); 0 takes
            them as they are.

    Shapes:
        image (B, 1 or 3, H, W) in [0, 1] -> four maps (B, ``channels[k]``, H/s, W/s)
        with s = ``stem_stride`` * 2**k, k = 0..3, for networks that halve the map at each stage.

    Raises:
        FerError: for an unknown name, a stride that the model cannot take, or a weights
            file that is missing or does not fit.

    Attributes:
        channels: of the four maps.
        stride: how many pixels wide a place of the first map is.
        narrow: whether it is a small one, beside which a small restorer or head fits.

    Explained in: book/baseline.ipynb
    """

    def __init__(self, name: str = "resnet18", stem_stride: int = 4, weights: str = "", size: int = 0):
        super().__init__()
        self.body, self.size = _timm_body(name), size
        self.channels: list[int] = self.body.feature_info.channels()
        self.narrow = self.channels[-1] < 512
        _shrink_stem(self.body, name, stem_stride)
        if not self.narrow:
            for layer in filter(_is_wide, self.body.modules()):
                layer.__class__ = _WideConv2d
        self.stride: int = self.body.feature_info.reduction()[0] * stem_stride // 4
        if weights:
            _load(self.body, Path(weights))
        self.register_buffer("mean", torch.tensor(MEAN)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(STD)[:, None, None], persistent=False)

    def forward(self, image: Tensor) -> list[Tensor]:
        if self.size and image.shape[-1] != self.size:
            image = upsample(image, self.size)
        x = (image.expand(-1, 3, -1, -1) - self.mean) / self.std
        return self.body(x.contiguous(memory_format=torch.channels_last))


class _WideConv2d(nn.Conv2d):
    """A 3x3 convolution that on a CPU, where the map is small, gathers the neighbourhoods and multiplies once.

    With many channels and few places PyTorch's own convolution mostly rearranges weights; book/speed.md has the figures.
    """

    def forward(self, x: Tensor) -> Tensor:
        step, (height, width) = self.stride[0], x.shape[-2:]
        places = F.pad(torch.arange(height * width).view(height, width), (1, 1, 1, 1), value=height * width)
        around = places.unfold(0, 3, step).unfold(1, 3, step)  # (h, w, 3, 3), the last place is the zeros outside
        if x.device.type != "cpu" or around[..., 0, 0].numel() > FEW:
            return super().forward(x)
        given = F.pad(x.permute(0, 2, 3, 1).flatten(1, 2), (0, 0, 0, 1))  # (B, H W + 1, C)
        seen = given.index_select(1, around.flatten()).view(len(x), *around.shape[:2], -1)  # (B, h, w, 9 C)
        weight = self.weight.permute(0, 2, 3, 1).flatten(1)  # (O, 9 C), a view of channels-last weights
        return (seen @ weight.t()).permute(0, 3, 1, 2)


def _is_wide(layer: nn.Module) -> bool:
    plain = {"kernel_size": (3, 3), "padding": (1, 1), "dilation": (1, 1), "groups": 1, "bias": None}
    return (
        type(layer) is nn.Conv2d
        and layer.out_channels >= WIDE
        and layer.stride[0] == layer.stride[1]
        and all(getattr(layer, name) == value for name, value in plain.items())
    )


def _timm_body(name: str) -> nn.Module:
    base, changes = ("resnet18", SMALL[name]) if name in SMALL else (name, {})
    try:
        stages = timm.create_model(base, features_only=True, **changes).feature_info.channels()
        last_four = tuple(range(len(stages)))[-4:]
        body = timm.create_model(base, features_only=True, out_indices=last_four, **changes)
    except (RuntimeError, AttributeError, TypeError) as error:
        known = ", ".join(SMALL)
        raise FerError(
            f"Backbone '{name}' is not a timm model with stage maps: take {known} or a name that "
            "timm.list_models() prints."
        ) from error
    if len(last_four) < 4:
        raise FerError(f"Backbone '{name}' has {len(last_four)} stages: four are needed, take a ResNet for example.")
    return body


def _shrink_stem(body: nn.Module, name: str, stride: int) -> None:
    if stride == 4:
        return
    first = next((m for m in body.modules() if isinstance(m, nn.Conv2d)), None)
    if stride not in (1, 2) or not hasattr(body, "maxpool"):
        raise FerError(f"Backbone '{name}' cannot take stem_stride={stride}: use 4, or a plain ResNet with 2 or 1.")
    body.maxpool = nn.Identity()
    if stride == 1:
        first.stride = (1, 1)


def _load(body: nn.Module, path: Path) -> None:
    if not path.is_file():
        raise FerError(f"Weights file {path} does not exist: give the path of a safetensors file, or none.")
    try:
        missing = body.load_state_dict(load_file(path), strict=False).missing_keys
    except Exception as error:
        raise FerError(f"Weights file {path} cannot be used ({error}): it must be this model's safetensors.") from error
    if missing:
        raise FerError(f"Weights file {path} lacks {len(missing)} parameters, {missing[0]} among them: wrong model.")
