"""Where the features of a face lie: person + action units -> curves.

Face coordinates: u to the right of the picture, v down, the eyes at v = 0, the chin near
v = 1, the crown near v = -1; depth towards the camera. A pair (N, 2) holds the left and the
right half of the picture.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from fer_lib.data.portrait.expression import ACTION_UNITS

MIDDLE = 0.06  # the height at which the head is widest
DOME, DEPTH = 1.05, 0.52  # height of the skull above MIDDLE; how far the face stands out


class Head(NamedTuple):
    """The outline; each (N, 1)."""

    width: Tensor
    chin: Tensor
    square: Tensor
    taper: Tensor
    nose: Tensor
    nose_end: Tensor


class Brow(NamedTuple):
    """Each (N, 2): how far from the middle the ends lie, and three heights."""

    inner: Tensor
    outer: Tensor
    inner_y: Tensor
    peak_y: Tensor
    outer_y: Tensor


class Eye(NamedTuple):
    """Each (N, 2): centre, half width, height of the upper and lower lid, slant, droop, iris."""

    x: Tensor
    y: Tensor
    width: Tensor
    upper: Tensor
    lower: Tensor
    tilt: Tensor
    droop: Tensor


class Mouth(NamedTuple):
    """Corners (N, 2), relative to (0, middle); the rest (N, 1)."""

    corner_x: Tensor
    corner_y: Tensor
    middle: Tensor
    gap_up: Tensor
    gap_low: Tensor
    thick_up: Tensor
    thick_low: Tensor
    square: Tensor
    arch: Tensor


class Shape(NamedTuple):
    """The geometry of N faces and, for the wrinkles, the action units (N, A, 2) behind it."""

    head: Head
    brow: Brow
    eye: Eye
    mouth: Mouth
    units: Tensor

    def unit(self, name: str) -> Tensor:
        """(N, 2)."""
        return self.units[:, ACTION_UNITS.index(name)]


def shape_of(person: dict[str, Tensor], units: Tensor) -> Shape:
    """The posed features of N persons under N rows of action units (N, A, 2)."""
    au = dict(zip(ACTION_UNITS, units.unbind(1), strict=True))  # name -> (N, 2)
    own = {name: value[:, None] for name, value in person.items() if value.ndim == 1}  # name -> (N, 1)
    jaw = _mean(0.125 * au["AU26"] + 0.23 * au["AU27"] + 0.012 * au["AU25"]) + 0.05 * own["rest_jaw"].clamp(
        min=0
    )
    head = Head(own["face_width"], own["chin"] + jaw, own["jaw_square"], own["jaw_taper"],
                own["nose_height"], own["nose_length"])  # fmt: skip
    return Shape(head, _brow(own, au), _eye(own, au), _mouth(own, au, jaw), units)


def _brow(own: dict[str, Tensor], au: dict[str, Tensor]) -> Brow:
    frown = au["AU4"] + 0.35 * au["AU9"]
    y = own["brow_y"] + 0.06 * own["rest_brow"] - 0.01 * au["AU5"]
    rest = 0.06 * own["rest_frown"]
    inner = own["eye_x"] - own["eye_width"] * 1.02 - 0.035 * frown
    outer = own["eye_x"] + own["eye_width"] * 1.42 + inner * 0
    inner_y = y + rest + 0.012 - 0.115 * au["AU1"] - 0.02 * au["AU2"] + 0.095 * frown
    peak_y = y - own["brow_arch"] - 0.058 * au["AU1"] - 0.10 * au["AU2"] + 0.075 * frown
    outer_y = y + own["brow_angle"] + 0.015 * au["AU1"] - 0.10 * au["AU2"] + 0.035 * frown
    return Brow(inner, outer, inner_y, peak_y, outer_y)


def _eye(own: dict[str, Tensor], au: dict[str, Tensor]) -> Eye:
    squeeze = 0.6 * au["AU6"] + au["AU7"] + 0.5 * au["AU9"]
    upper = own["eye_up"] + 0.05 * own["rest_lid"] + 0.042 * au["AU5"] - 0.022 * squeeze - 0.010 * au["AU4"]
    lower = own["eye_low"] + 0.008 * au["AU5"] - 0.024 * squeeze - 0.012 * au["AU6"]
    closed = au["AU43"]
    lower = torch.maximum(lower, own["eye_low"] * 0.2)
    upper = torch.maximum(upper, own["eye_up"] * 0.25)
    upper = upper + (0.012 - lower - upper) * closed
    x, width = own["eye_x"] + upper * 0, own["eye_width"] + upper * 0
    y = -0.004 * au["AU6"] + upper * 0
    droop = 0.35 * (au["AU1"] * au["AU4"] + 0.6 * au["AU1"] * au["AU15"]) - 0.1 * au["AU5"]
    return Eye(x, y, width, upper, lower, own["eye_tilt"] + upper * 0, droop)


def _mouth(own: dict[str, Tensor], au: dict[str, Tensor], jaw: Tensor) -> Mouth:
    opened = _mean(au["AU25"])
    smile, sneer = au["AU12"], _mean(au["AU10"] + 0.4 * au["AU9"])
    out = 0.085 * smile + 0.070 * au["AU20"] + 0.020 * au["AU14"]
    inward = (
        0.025 * au["AU23"] + 0.02 * au["AU24"] + 0.022 * au["AU17"] + 0.035 * au["AU26"] + 0.06 * au["AU27"]
    )
    corner_x = own["mouth_width"] + out - inward
    up = 0.045 * own["rest_mouth"] + 0.105 * smile + 0.030 * au["AU14"]
    corner_y = 0.085 * au["AU15"] + 0.022 * au["AU20"] + 0.012 * au["AU10"] + 0.35 * jaw - up
    chin, press = _mean(au["AU17"]), _mean(au["AU23"] + au["AU24"])
    middle = own["mouth_y"] - 0.026 * chin - 0.012 * _mean(smile) - 0.018 * sneer
    gap_up = opened * (0.006 + 0.020 * _mean(smile) + 0.05 * sneer + 0.012 * _mean(au["AU20"]))
    gap_low = 0.92 * jaw + opened * (
        0.022 + 0.052 * _mean(smile) + 0.045 * _mean(au["AU16"]) + 0.02 * _mean(au["AU20"])
    )
    stretch = _mean(0.28 * smile + 0.25 * au["AU20"] + 0.15 * au["AU14"])
    thin = (1 - 0.30 * press).clamp(min=0.35) * (1 - stretch)
    return Mouth(corner_x, corner_y, middle, gap_up, gap_low, own["lip_up"] * thin + 0.004 * sneer,
                 own["lip_low"] * thin * (1 + 0.18 * chin), sneer, 0.028 * chin + 0.01 * press)  # fmt: skip


def _mean(pair: Tensor) -> Tensor:
    return (pair[:, :1] + pair[:, 1:]) * 0.5


def half(pair: Tensor, sign: Tensor) -> Tensor:
    """The left value of each row where ``sign`` is -1, the right where it is 1; pair (N, 2)."""
    left, right = pair[:, :1], pair[:, 1:]
    return (left + right) * 0.5 + sign * ((right - left) * 0.5)


def brow_line(brow: Brow, t: Tensor) -> Tensor:
    """The brow's middle line, t = 0 at the inner end, 1 at the outer: a parabola through three heights."""
    peak = 0.6
    first = (t - peak) * (t - 1) / peak
    second = t * (1 - t) / (peak * (1 - peak))
    third = t * (t - peak) / (1 - peak)
    return brow.inner_y * first + brow.peak_y * second + brow.outer_y * third


def lid_lines(eye: Eye, x: Tensor) -> tuple[Tensor, Tensor]:
    """Heights of the upper and the lower lid, x = -1 at the inner corner, 1 at the outer."""
    inside = 1 - x * x
    line = eye.y - eye.tilt * x
    upper = inside * (1 + 0.35 * x * x) * (1 - (0.16 + eye.droop) * x)
    lower = inside * (1 + 0.15 * x * x) * (1 + 0.22 * x)
    return line - eye.upper * upper, line + eye.lower * lower


def lip_lines(mouth: Mouth, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Heights of the upper lip's outer and inner, the lower lip's inner and outer edge, x in -1 ... 1."""
    square = x * x
    inside = 1 - square
    corner = half(mouth.corner_y, x.sign())
    line = mouth.middle + corner * square * (0.65 + 0.35 * square) - mouth.arch * inside
    blunt = inside + mouth.square.clamp(0, 1) * 0.7 * square * inside
    dip = (1 - square * 11).clamp(min=0)
    rise = inside * (1.05 + 0.25 * square) - 0.20 * dip * dip
    inner_up = line - mouth.gap_up * blunt
    inner_low = line + mouth.gap_low * inside * (1 + 0.45 * square)
    outer_up = inner_up - mouth.thick_up * rise
    outer_low = inner_low + mouth.thick_low * inside * (1 + 0.2 * square)
    return outer_up, inner_up, inner_low, outer_low


def outline(head: Head, v: Tensor) -> Tensor:
    """Half the width of the face at height v; 0 above the crown and below the chin."""
    t, taper, square = _heights(head, v)
    room = (1 - (1 - square) * t - square * t * t).clamp(min=0)
    return head.width * (1 - taper * t) * room.sqrt()


def outline_level(head: Head, u: Tensor, v: Tensor) -> Tensor:
    """1 on the outline of the face, 0 in the middle, growing like the square of the distance."""
    t, taper, square = _heights(head, v)
    x = u / (head.width * (1 - taper * t).clamp(min=0.2))
    return x * x + (1 - square) * t + square * t * t


def _heights(head: Head, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    drop = v - MIDDLE
    below = drop.sign().clamp_(min=0)
    t = drop * (1 / DOME + below * (1 / (head.chin - MIDDLE) - 1 / DOME))
    return t * t, below * head.taper, 0.42 + below * (head.square - 0.42)


def relief(head: Head, u: Tensor, v: Tensor) -> Tensor:
    """How far the nose stands out of the face's bowl."""
    x, y = u * (1 / 0.30), (v - 0.25) * (1 / 0.38)
    bump = (1 - x * x - y * y).clamp(min=0)
    return head.nose * bump * bump


def depth(head: Head, u: Tensor, v: Tensor) -> Tensor:
    """Distance in front of the plane of the ears."""
    x, y = u / head.width, (v - 0.1) * (1 / 1.25)
    return DEPTH * (1 - x * x - y * y) + relief(head, u, v)
