"""From surfaces to what a camera records: lamp, sky, highlights, exposure, noise."""

from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor

from fer_lib.data.portrait.canvas import Layer
from fer_lib.data.portrait.draws import Draws
from fer_lib.data.portrait.pose import Pose

WRAP = (0.34, 0.20, 0.16)  # how far red, green and blue light creeps round the skin
GRAIN = 1 << 16


class Light(NamedTuple):
    """Directions in the frame of the head, each a triple of (N, 1); colours (N, 3)."""

    to_light: tuple[Tensor, Tensor, Tensor]
    halfway: tuple[Tensor, Tensor, Tensor]
    colour: Tensor
    ambient: Tensor


def lights(view: dict[str, Tensor], pose: Pose) -> tuple[Light, Light]:
    """The light as the turned head sees it, and as the camera does."""
    lx, ly = view["light_x"], view["light_y"]
    norm = (lx * lx + ly * ly + 1).sqrt()
    source, eye = (lx / norm, ly / norm, 1 / norm), (lx * 0, lx * 0, lx * 0 + 1)
    colour = view["light"] * view["light_power"]
    ambient = (1.16 - view["light_power"]) * (0.94 + 0.06 * view["light"].new_tensor([-0.3, 0.2, 1.0])) * 0.9
    pairs = [(source, eye), (_to_head(pose, source), _to_head(pose, eye))]
    camera, turned = (
        Light(s, _unit(tuple(a + b for a, b in zip(s, e, strict=True))), colour, ambient) for s, e in pairs
    )
    return turned, camera


def _to_head(pose: Pose, vector: tuple[Tensor, Tensor, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    (cy, sy), (cp, sp), (cr, sr) = pose.yaw, pose.pitch, pose.roll
    across, down = vector[0] * cr + vector[1] * sr, vector[1] * cr - vector[0] * sr
    v, front = down * cp + vector[2] * sp, vector[2] * cp - down * sp
    return across * cy - front * sy, v, front * cy + across * sy


def _unit(vector: tuple[Tensor, Tensor, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    a, b, c = vector
    norm = (a * a + b * b + c * c).sqrt()
    return a / norm, b / norm, c / norm


def shade(layer: Layer, light: Light) -> Tensor:
    """Radiance (N, 3, P): Lambert with a soft edge, a sky that is brighter above, a small highlight."""
    slope_u, slope_v, open_ = layer.slope_u, layer.slope_v, layer.open
    norm = 1 / (slope_u * slope_u + slope_v * slope_v + 1).sqrt_()
    (lu, lv, ld), (hu, hv, hd) = light.to_light, light.halfway
    facing = (slope_u * lu + slope_v * lv + ld) * norm
    sky = (1 - 0.35 * slope_v * norm).mul_(open_)
    shine = (slope_u * hu + slope_v * hv + hd).mul_(norm).clamp_(min=0.1)
    for _ in range(4):
        shine = shine * shine
    shine = shine * layer.gloss * open_
    wrap = facing.new_tensor(WRAP)[:, None]
    lit = (facing[:, None] + wrap).clamp_(min=0).mul_((open_ * (0.7 + 0.3 * open_))[:, None])
    lit = (
        lit.mul_(light.colour[..., None] / (1 + wrap))
        .add_(sky[:, None] * light.ambient[..., None])
        .mul_(layer.rgb)
    )
    return lit.add_(shine[:, None] * light.colour[..., None]).add_(layer.glow[:, None])


def develop(light: Tensor, view: dict[str, Tensor], size: int) -> Tensor:
    """Linear light to sRGB 0-1: exposure, a soft shoulder, the sRGB curve, sensor noise."""
    octaves = view["exposure"] * 0.6931472
    gain = 1 + octaves * (1 + octaves * (0.5 + octaves / 6))
    light = (light * gain[..., None]).clamp_(0, 1.1)
    light = light * (1.12 - 0.125 * light)
    root = light.sqrt()
    second = root.sqrt()
    image = light.mul_(-0.0225411470).add_(root.mul_(0.662002687)).add_(second.sqrt().mul_(-0.323583601))
    image.add_(second.mul_(0.684122060))
    grain = _grain(light.device, 3 * size * size).index_select(0, view["grain"][:, 0].long())
    image += grain.view_as(image) * view["noise"][..., None]
    return image.clamp_(0, 1).view(len(image), 3, size, size)


@cache
def _grain(device: torch.device, length: int) -> Tensor:
    """GRAIN overlapping rows of bell-shaped noise of standard deviation 1; a view (GRAIN, length)."""
    noise = Draws(0, "grain", torch.arange(GRAIN + length, device=device)).bell("grain")
    return noise.as_strided((GRAIN, length), (1, 1))
