"""Soft shapes on pixel grids: coverage of edges and strokes, bumps, windows, blending.

Only exactly rounded operations (+ - * / sqrt min max) are used, so a pixel does not depend
on how many other pixels are computed with it.
"""

from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor

from fer_lib.data.portrait.draws import Draws

KNOTS = 1 << 10


class Layer:
    """What is seen at each pixel before the light falls on it.

    All are views of one buffer (N, 8, P) and are changed in place: ``rgb`` (N, 3, P) in linear
    light; (N, P) each: ``slope_u`` and ``slope_v``, how the surface leans to the right and down;
    ``open``, how much light reaches it; ``gloss``; ``glow``, light of its own.
    """

    def __init__(self, buffer: Tensor):
        self.buffer, self.rgb = buffer, buffer[:, :3]
        self.slope_u, self.slope_v, self.open, self.gloss, self.glow = buffer[:, 3:].unbind(1)

    @classmethod
    def plain(cls, colour: Tensor, like: Tensor, gloss: float = 0.0) -> "Layer":
        """A flat, fully lit surface of that colour (N, 3), with a pixel for each of ``like`` (N, P)."""
        layer = cls(like.new_empty(len(like), 8, like.shape[1]))
        layer.rgb.copy_(colour[..., None])
        for plane, value in (
            (layer.slope_u, 0),
            (layer.slope_v, 0),
            (layer.open, 1),
            (layer.gloss, gloss),
            (layer.glow, 0),
        ):
            plane.fill_(value)
        return layer

    def part(self, rows: Tensor, start: int = 0) -> "Layer":
        """A copy of some rows, from pixel ``start`` on."""
        return Layer(self.buffer[rows, :, start:])


class Grid(NamedTuple):
    """The pixels of N pictures or windows: face coordinates (N, P), size of a pixel in face units (N, 1)."""

    u: Tensor
    v: Tensor
    pixel: Tensor


def cover(distance: Tensor, pixel: Tensor, blur: Tensor | float = 0.0) -> Tensor:
    """Share of a pixel inside an edge; ``distance`` is negative inside. Width: one pixel plus blur."""
    return (0.5 - distance / (pixel + blur)).clamp(0, 1)


def stroke(distance: Tensor, half: Tensor | float, pixel: Tensor, blur: float = 0.0) -> Tensor:
    """Share of a pixel that a line of that half width covers, however thin it is."""
    return cover(distance - half, pixel, blur) - cover(distance + half, pixel, blur)


def smooth(x: Tensor) -> Tensor:
    """0 below 0, 1 above 1, and between them without a kink."""
    x = x.clamp(0, 1)
    return x * x * (3 - 2 * x)


def dome(x: Tensor, y: Tensor) -> Tensor:
    """1 in the middle, 0 from the unit circle on."""
    hill = (1 - x * x - y * y).clamp(min=0)
    return hill * hill


def wave(x: Tensor, frequency: float, pixel: Tensor) -> Tensor:
    """A triangle wave between -1 and 1 that fades where the pixels cannot hold it."""
    x = x * frequency
    fade = (1.6 - 3.2 * frequency * pixel).clamp(0, 1)
    return ((x - x.floor()) * 4 - 2).abs().sub_(1).mul_(fade)


def noise(x: Tensor, frequency: float, pixel: Tensor) -> Tensor:
    """Smooth random values between -1 and 1, ``frequency`` knots a unit; fades as ``wave`` does."""
    fade = (1.6 - 1.6 * frequency * pixel).clamp(0, 1)
    if not bool((fade > 0).any()):
        return fade
    knots, steps = _knots(x.device)
    x = x * frequency
    low = x.floor()
    t = x - low
    place = (low.to(torch.int32) & (KNOTS - 1)).view(-1)
    t = t * t * (3 - 2 * t)
    return (knots.index_select(0, place).view_as(x) + steps.index_select(0, place).view_as(x) * t).mul_(fade)


@cache
def _knots(device: torch.device) -> tuple[Tensor, Tensor]:
    values = Draws(0, "knots", torch.arange(KNOTS, device=device)).uniform("knots", -1, 1)
    return values, values.roll(-1) - values


def raise_bump(layer: Layer, x: Tensor, y: Tensor, size: tuple, height: Tensor | float) -> None:
    """Add a hill to the slopes; x and y are distances from its top in units of ``size``."""
    hill = (1 - x * x - y * y).clamp_(min=0).mul_(4 * height)
    layer.slope_u += hill * x / size[0]
    layer.slope_v += hill * y / size[1]


def crease(
    layer: Layer, side: Tensor, along: Tensor, depth: Tensor, width: float, pixel: Tensor, upright: bool
) -> None:
    """A fold of the skin: darker in the valley, one bank lit and one in shade.

    ``side`` is the distance across, ``along`` runs from -1 to 1 over its length. What is
    thinner than a pixel becomes wider and weaker.
    """
    wide = (pixel * 0.8).clamp(min=width)
    x = side / wide
    square = x * x
    amount = (1 - along * along).clamp_(min=0).mul_(depth * (width / wide))
    hollow = (1 - square * 0.25).clamp_(min=0)
    slope = layer.slope_u if upright else layer.slope_v
    slope -= hollow * hollow * amount * x
    layer.open *= 1 - (amount * (1 - square * 0.6).clamp_(min=0)).clamp_(max=1) * 0.5


def tint(layer: Layer, amount: Tensor, colour: Tensor) -> None:
    """Blend the colour towards ``colour``, (N, 3) or (1, 3)."""
    layer.rgb += amount[:, None] * (colour[..., None] - layer.rgb)


def darken(layer: Layer, amount: Tensor, shares: tuple[float, float, float]) -> None:
    """Take ``amount`` times that share from red, green and blue."""
    layer.rgb *= 1 - amount[:, None] * amount.new_tensor(shares)[:, None]


def blend(target: Tensor, amount: Tensor, value: Tensor | float) -> None:
    """Move ``target`` towards ``value``, in place."""
    target += amount * (value - target)


def step(x: Tensor) -> Tensor:
    """1.0 where x is positive, else 0.0."""
    return x.sign().clamp_(min=0)


class Window(NamedTuple):
    """A rectangle of fixed size cut out of each picture, around a point that moves with the face."""

    corners: list[tuple[int, int]]  # the left-most column and the upper-most row, for each picture
    shape: tuple[int, int]  # height, width
    size: int  # of the whole picture
    x: Tensor
    y: Tensor  # (N, P), pixels


def window(x: Tensor, y: Tensor, width: int, height: int, size: int) -> Window:
    """The pixels around (x, y), each (N, 1); moved inwards where they would leave the picture."""
    width, height = min(width, size), min(height, size)
    left = (x - (width - 1) / 2).round().clamp(0, size - width)
    top = (y - (height - 1) / 2).round().clamp(0, size - height)
    place = torch.arange(width * height, device=x.device)
    corners = torch.cat([left, top], 1).long().tolist()
    return Window(corners, (height, width), size, left + place % width, top + place // width)


def cut(buffer: Tensor, place: Window) -> Tensor:
    """What lies inside a window; (N, C, size * size) -> (N, C, P)."""
    parts = buffer.new_empty(*buffer.shape[:2], *place.shape)
    for part, inside in zip(parts, _inside(buffer, place), strict=True):
        part.copy_(inside)
    return parts.flatten(2)


def paste(buffer: Tensor, place: Window, parts: Tensor) -> None:
    """Put the content of a window back."""
    for part, inside in zip(parts.unflatten(2, place.shape), _inside(buffer, place), strict=True):
        inside.copy_(part)


def add(buffer: Tensor, place: Window, parts: Tensor) -> None:
    """Add to what lies inside a window."""
    for part, inside in zip(parts.unflatten(2, place.shape), _inside(buffer, place), strict=True):
        inside.add_(part)


def _inside(buffer: Tensor, place: Window) -> list[Tensor]:
    height, width = place.shape
    pictures = buffer.unflatten(2, (place.size, place.size))
    return [
        picture[:, top : top + height, left : left + width]
        for picture, (left, top) in zip(pictures, place.corners, strict=True)
    ]
