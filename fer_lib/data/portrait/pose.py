"""From face coordinates to pixels and back, and the 68 landmarks in pixels.

The projection is orthographic: turn by yaw, then pitch, then roll, scale and shift.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from fer_lib.data.portrait.anatomy import (
    DEPTH,
    Brow,
    Eye,
    Head,
    Mouth,
    Shape,
    brow_line,
    depth,
    lid_lines,
    lip_lines,
    outline,
    relief,
)
from fer_lib.data.portrait.anatomy import MIDDLE as WIDEST

PIVOT = 0.45  # the height about which the head turns
FRAMED = 0.12  # the height that comes to lie in the middle of the picture


class Pose(NamedTuple):
    """Cosines and sines of the three turns, scale (pixels per face unit), and place; each (N, 1)."""

    yaw: tuple[Tensor, Tensor]
    pitch: tuple[Tensor, Tensor]
    roll: tuple[Tensor, Tensor]
    scale: Tensor
    x: Tensor
    y: Tensor


def pose_of(view: dict[str, Tensor], size: int) -> Pose:
    """The pose of each row of ``view`` in a picture of ``size`` pixels."""
    turns = (_turn(view[name][:, None]) for name in ("yaw", "pitch", "roll"))
    scale = view["zoom"][:, None] * size
    middle = (size - 1) / 2
    x = view["shift_x"][:, None] * size + middle
    y = view["shift_y"][:, None] * size + middle + scale * (PIVOT - FRAMED)
    return Pose(*turns, scale, x, y)


def _turn(degrees: Tensor) -> tuple[Tensor, Tensor]:
    """(cosine, sine) from exactly rounded operations only, so that all devices agree."""
    half = degrees * (3.141592653589793 / 360)
    square = half * half
    tangent = half * (1 + square * (1 / 3 + square * (2 / 15 + square * (17 / 315))))
    norm = 1 + tangent * tangent
    return (1 - tangent * tangent) / norm, 2 * tangent / norm


def project(pose: Pose, u: Tensor, v: Tensor, d: Tensor) -> tuple[Tensor, Tensor]:
    """Pixels (x, y) of points of the head; tensors (N, P)."""
    (cy, sy), (cp, sp), (cr, sr) = pose.yaw, pose.pitch, pose.roll
    across, front = u * cy + d * sy, d * cy - u * sy
    down = (v - PIVOT) * cp - front * sp
    return pose.x + pose.scale * (across * cr - down * sr), pose.y + pose.scale * (across * sr + down * cr)


def upright(pose: Pose, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Pixels to face units with only the roll undone, relative to the pivot."""
    cr, sr = pose.roll
    px, py = (x - pose.x) / pose.scale, (y - pose.y) / pose.scale
    return px * cr + py * sr, py * cr - px * sr


def at_depth(pose: Pose, across: Tensor, down: Tensor, d: Tensor | float) -> tuple[Tensor, Tensor]:
    """(u, v) of upright pixels on a plane at depth ``d``."""
    (cy, sy), (cp, sp), _ = pose.yaw, pose.pitch, pose.roll
    u = (across - sy * d) / cy
    return u, (down + (cy * d - sy * u) * sp) / cp + PIVOT


def on_face(pose: Pose, head: Head, across: Tensor, down: Tensor, nose: bool) -> tuple[Tensor, Tensor]:
    """(u, v) of upright pixels on the face: where the ray meets the face's bowl, then its nose.

    Outside the bowl the depth is held at a little below 0, so the map stays continuous.
    """
    (cy, sy), (cp, sp), _ = pose.yaw, pose.pitch, pose.roll
    u, v = at_depth(pose, across, down, 0.0)
    along_u, along_v = -sy / cy, sp / (cp * cy)  # how u and v move along the ray
    wide, high = 1 / (head.width * head.width), 1 / (1.25 * 1.25)
    drop = v - 0.1
    bend = DEPTH * (along_u * along_u * wide + along_v * along_v * high)
    slope = 1 + (u * (2 * DEPTH * wide * along_u) + drop * (2 * DEPTH * high * along_v))
    room = DEPTH * (1 - u * u * wide - drop * drop * high)
    root = (slope * slope + 4 * bend * room).clamp(min=0).sqrt()
    d = (2 * room / (slope + root).clamp(min=0.3)).clamp(min=-0.12)
    u, v = u + along_u * d, v + along_v * d
    if not nose:
        return u, v
    first_u, first_v = u, v
    for _ in range(2):
        bump = relief(head, u, v)
        u, v = first_u + along_u * bump, first_v + along_v * bump
    return u, v


def landmarks(shape: Shape, pose: Pose) -> Tensor:
    """68 points in the order of iBUG 300-W, (x, y) in pixels; float32 (N, 68, 2)."""
    head = shape.head
    row = head.chin.new_tensor
    down = WIDEST + (head.chin - WIDEST) * row([-0.04, 0.16, 0.33, 0.49, 0.64, 0.77, 0.88, 0.96])  # (N, 8)
    side = outline(head, down)
    base = row([-1.0, -0.5, 0.0, 0.5, 1.0])
    bridge = row([0.03, 0.36, 0.70, 1.0]) * (head.nose_end - 0.06)
    end = head.nose_end + 0.04 * (1 - base * base)
    parts = [
        (torch.cat([-side, side[:, :1] * 0, side.flip(1)], 1), torch.cat([down, head.chin, down.flip(1)], 1)),
        *_brows(shape.brow),
        (bridge * 0, bridge),
        (0.115 * base + end * 0, end),
        *_eyes(shape.eye),
        _lips(shape.mouth),
    ]
    u, v = (torch.cat(values, 1) for values in zip(*parts, strict=True))
    return torch.stack(project(pose, u, v, depth(head, u, v)), -1)


def _halves(pair: Brow | Eye) -> list:
    """The left and the right half of the picture, each with fields (N, 1)."""
    return [type(pair)(*(value[:, i : i + 1] for value in pair)) for i in (0, 1)]


def _brows(brow: Brow) -> list[tuple[Tensor, Tensor]]:
    left, right = _halves(brow)
    t = brow.inner.new_tensor([0.0, 0.25, 0.5, 0.75, 1.0])
    back = t.flip(0)
    return [(-(left.inner + (left.outer - left.inner) * back), brow_line(left, back)),
            (right.inner + (right.outer - right.inner) * t, brow_line(right, t))]  # fmt: skip


def _eyes(eye: Eye) -> list[tuple[Tensor, Tensor]]:
    left, right = _halves(eye)
    x = eye.x.new_tensor([1, 0.35, -0.35, -1, -0.35, 0.35])
    points = []
    for half, place, sign in ((left, x, -1), (right, -x, 1)):
        upper, lower = lid_lines(half, place)
        points.append((sign * (half.x + half.width * place), torch.cat([upper[:, :4], lower[:, 4:]], 1)))
    return points


def _lips(mouth: Mouth) -> tuple[Tensor, Tensor]:
    outer = [-1, -0.62, -0.25, 0, 0.25, 0.62, 1, 0.62, 0.3, 0, -0.3, -0.62]
    x = mouth.middle.new_tensor([*outer, -0.85, -0.35, 0, 0.35, 0.85, 0.35, 0, -0.35])  # (20,)
    curves = lip_lines(mouth, x.expand(len(mouth.middle), -1))
    which = [0] * 7 + [3] * 5 + [1] * 5 + [2] * 3
    v = torch.stack([curves[curve][:, i] for i, curve in enumerate(which)], 1)
    left, right = mouth.corner_x[:, :1], mouth.corner_x[:, 1:]
    return (right - left) * 0.5 + (left + right) * 0.5 * x, v
