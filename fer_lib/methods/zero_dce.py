"""Zero-DCE: a light curve for each pixel, learned without a single bright picture [guo2020zerodce].

Written from its paper; LL-FER takes the curve from it, and competes with the rest.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fer_lib.methods.method import Term

STEPS = 8  # of the light curve
EXPOSURE = 0.6  # the brightness that every region should have


def light_curve(image: Tensor, curves: Tensor) -> Tensor:
    r"""Brighten or darken each pixel by steps [guo2020zerodce]: :math:`x \leftarrow x + r_t\,(x^2 - x)`.

    With :math:`|r_t| \le 1` values in [0, 1] stay there and their order is kept; a negative
    :math:`r_t` brightens.

    Args:
        image: (B, 3, H, W) in [0, 1].
        curves: (B, 3 * T, H, W) in [-1, 1], T steps.

    Explained in: book/ll_fer.ipynb
    """
    for step in curves.split(3, dim=1):
        image = image + step * (image.square() - image)
    return image


class DCENet(nn.Module):
    """Seven convolutions at full size, the later ones reading the earlier ones' maps too; they give the curve.

    Attributes:
        curves: (B, 24, H, W) of the last images, where gradients are recorded; else ``None``.

    Shapes:
        (B, 1 or 3, H, W) in [0, 1] -> (B, 3, H, W) in [0, 1].

    Explained in: book/ll_fer.ipynb
    """

    def __init__(self, width: int = 32):
        super().__init__()
        sizes = [(3, width), *[(width, width)] * 3, *[(2 * width, width)] * 2, (2 * width, 3 * STEPS)]
        self.layers = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1) for a, b in sizes)
        for layer in self.layers:
            nn.init.normal_(layer.weight, std=0.02)
            nn.init.zeros_(layer.bias)
        self.curves: Tensor | None = None

    def forward(self, image: Tensor) -> Tensor:
        image, maps = image.expand(-1, 3, -1, -1), []
        for layer in self.layers[:4]:
            maps.append(F.relu(layer(maps[-1] if maps else image)))
        x = F.relu(self.layers[4](torch.cat([maps[2], maps[3]], 1)))
        x = F.relu(self.layers[5](torch.cat([maps[1], x], 1)))
        curves = torch.tanh(self.layers[6](torch.cat([maps[0], x], 1)).float())
        self.curves = curves if torch.is_grad_enabled() else None
        return light_curve(image, curves)


def zero_reference(lit: Tensor, image: Tensor, curves: Tensor) -> dict[str, Term]:
    r"""Zero-DCE's four losses, none of which knows the clean picture (its equations 4 to 8, its weights).

    ``contrast``: in squares of 4 x 4 pixels, the differences to the four neighbouring squares stay as
    they were. ``exposure``: squares of 16 x 16 pixels (or the whole picture, if smaller) come to a mean of 0.6.
    ``grey``: the three colours' means over the picture come together. ``roughness``: the sum of the
    curve maps' slopes, squared.

    Args:
        lit, image: (B, 3, H, W), after and before the curve, H and W from 4 on.
        curves: (B, 24, H, W), from :class:`DCENet`.

    Explained in: book/ll_fer.ipynb
    """
    after, before = (F.avg_pool2d(x.mean(1, keepdim=True), 4) for x in (lit, image))
    apart = [after.diff(dim=d).abs() - before.diff(dim=d).abs() for d in (-1, -2)]
    # Each pair of squares is met from both sides; the mean is over squares.
    contrast = 2 * sum(x.square().sum((1, 2, 3)).mean() for x in apart) / (after.shape[-1] * after.shape[-2])
    exposure = F.avg_pool2d(lit.mean(1, keepdim=True), min(16, *lit.shape[-2:])).sub(EXPOSURE).abs().mean()
    red, green, blue = lit.mean((2, 3)).unbind(1)
    grey = ((red - green).square() + (red - blue).square() + (green - blue).square()).mean()
    here = curves[..., :-1, :-1]
    slopes = (curves[..., :-1, 1:] - here).abs() + (curves[..., 1:, :-1] - here).abs()
    return {
        "contrast": Term(contrast),
        "exposure": Term(exposure),
        "grey": Term(grey, 0.5),
        "roughness": Term(3 * slopes.square().mean(), 20.0),  # the sum over three colours, the mean over steps
    }
