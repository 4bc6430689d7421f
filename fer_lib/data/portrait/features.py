"""The small layers that speak: eyes, brows, nose, mouth, and the spectacles before them."""

import torch
from torch import Tensor

from fer_lib.data.portrait.anatomy import Brow, Eye, Mouth, Shape, brow_line, half, lid_lines, lip_lines
from fer_lib.data.portrait.canvas import (
    Grid,
    Layer,
    blend,
    cover,
    crease,
    darken,
    dome,
    raise_bump,
    smooth,
    step,
    stroke,
    tint,
    wave,
)  # fmt: skip

SCLERA, TEETH = (0.72, 0.70, 0.67), (0.80, 0.77, 0.70)
ORBIT_TRAITS = (
    "lid_fold",
    "age",
    "lips",
    "iris",
    "iris_size",
    "lash",
    "brow",
    "brow_thick",
    "brow_ridge",
    "skin",
)
CAVITY, TONGUE = (0.050, 0.010, 0.010), (0.36, 0.10, 0.10)


def socket(person: dict[str, Tensor], eye: Eye, grid: Grid, layer: Layer) -> None:
    """The hollow of the eye, the ridge above it, the lids' skin and the pouch below."""
    u, v, pixel = grid
    raise_bump(layer, (u - 0.27) / 0.27, (v + 0.02) / 0.19, (0.27, 0.19), -0.055)
    raise_bump(layer, (u - 0.28) / 0.30, (v + 0.20) / 0.13, (0.30, 0.13), person["brow_ridge"])
    raise_bump(layer, (u - eye.x) / 0.20, (v - eye.y) / 0.15, (0.20, 0.15), 0.055)
    x = (u - eye.x) / eye.width
    upper, lower = lid_lines(eye, x.clamp(-1.2, 1.2))
    fold = upper - 0.030 - 0.018 * person["lid_fold"] - 0.012 * (1 - x * x).clamp(min=0)
    depth = 0.25 + 0.75 * (person["lid_fold"] * 1.6 - 0.25).clamp(0, 1)
    crease(layer, v - fold, (x - 0.05) / 1.12, depth, 0.014, pixel, upright=False)
    shadow = smooth((v - fold) * 14 + 0.4) * (1 - smooth((v - upper) * 40)) * (1.2 - x * x).clamp(0, 1)
    darken(layer, shadow, (0.10, 0.20, 0.17))
    crease(
        layer, v - lower - 0.038, (x + 0.1) / 0.95, 0.10 + 0.35 * person["age"], 0.02, pixel, upright=False
    )


def eyeball(person: dict[str, Tensor], eye: Eye, grid: Grid, layer: Layer) -> None:
    """Sclera, iris, pupil, catch-light, lashes; everything between the lids."""
    u, v, pixel = grid
    x = (u - eye.x) / eye.width
    upper, lower = lid_lines(eye, x.clamp(-1.25, 1.25))
    beyond = (x.abs() - 1) * eye.width
    opening = cover(torch.maximum(torch.maximum(upper - v, v - lower) * 0.85, beyond), pixel)
    du, dv = u - eye.x, v - eye.y
    tint(layer, opening, u.new_tensor([SCLERA]))
    blend(layer.slope_u, opening, du * 4.0)
    blend(layer.slope_v, opening, dv * 4.5)
    blend(layer.gloss, opening, 0.05)
    caruncle = opening * dome((x + 0.98) / 0.24, (v - eye.y - 0.01) / 0.05)
    tint(layer, caruncle * 0.8, person["lips"])
    radius = person["iris_size"]
    iu, iv = du - person["gaze_u"] * radius, dv + 0.010 - person["gaze_v"] * radius * 0.6
    away = (iu * iu + iv * iv).sqrt()
    ring = away / radius
    iris = opening * cover(away - radius, pixel, 0.006)
    glow = (0.75 + 0.9 * smooth(0.5 + iv / radius)) * (1 - 0.75 * smooth(ring * 4.5 - 3.4))
    fibre = 1 + 0.16 * wave(iu / (iv.abs() + 0.03), 1.9, pixel * 4)
    blend(layer.rgb, iris[:, None], person["iris"][..., None] * (glow * fibre)[:, None])
    pupil = opening * cover(away - radius * 0.43, pixel, 0.005)
    tint(layer, pupil, person["iris"] * 0.02)
    shade = 1 - 0.62 * (1 - smooth((v - upper) * 15)) - 0.25 * smooth(x * x * 1.3 - 0.3)
    blend(layer.open, opening, shade.clamp(min=0.2))
    spot = ((iu - 0.34 * radius * person["glint_u"]) * (1 / 0.024), (iv + 0.38 * radius) * (1 / 0.027))
    glint = cover(((spot[0] * spot[0] + spot[1] * spot[1]).sqrt() - 1) * 0.024, pixel, 0.008)
    soft = dome((iu + 0.4 * radius * person["glint_u"]) / 0.05, (iv - 0.45 * radius) / 0.045)
    layer.glow += opening * (0.80 * glint + 0.06 * soft * iris)


def lashes(person: dict[str, Tensor], eye: Eye, grid: Grid, layer: Layer) -> None:
    """The dark line of the upper lashes, with a tip at the outer corner, and a faint lower one."""
    u, v, pixel = grid
    x = (u - eye.x) / eye.width
    inner = x.clamp(-1, 1)
    upper, lower = lid_lines(eye, inner)
    past = (x - 0.86).clamp(min=0)
    line = upper - 0.10 * past * (0.4 + person["lash"])
    taper = (1.15 - 0.10 * person["lash"] - x.abs() + 0.28 * person["lash"] * step(x)).clamp(0, 1)
    thick = (0.007 + 0.011 * person["lash"] * (0.6 + 0.4 * x)) * smooth(taper * 5)
    dark = person["brow"] * 0.35
    tint(layer, (stroke(v - line + thick * 0.5, thick, pixel, 0.004) * 0.92).clamp(0, 1), dark)
    rim = stroke(v - lower - 0.004, 0.005, pixel, 0.006) * (1.05 - x * x).clamp(0, 1)
    tint(layer, rim * (0.30 + 0.25 * person["lash"]), dark + person["skin"] * 0.15)


def eyebrow(person: dict[str, Tensor], brow: Brow, grid: Grid, layer: Layer) -> None:
    """A tapered band of hair along the brow's line."""
    u, v, pixel = grid
    long = brow.outer - brow.inner
    t = (u - brow.inner) / long
    held = t.clamp(-0.05, 1.05)
    line = brow_line(brow, held)
    taper = (1 - 0.80 * held * held) * (0.72 + 0.28 * smooth(held * 5))
    thick = person["brow_thick"] * taper
    ends = torch.maximum(-t, t - 1) * long
    grain = wave(u * 0.8 + v * 0.6, 19, pixel) * 0.55 + wave(u * 1.1 + v * 0.25, 33, pixel) * 0.45
    away = torch.maximum((v - line).abs() * 0.94 - thick, ends) + 0.004 * grain
    alpha = cover(away, pixel, 0.010 + 0.012 * (1 - smooth(held * 6)))
    alpha = alpha * (0.90 - 0.30 * (1 - smooth(held * 5))) * (1 - 0.12 * grain.clamp(min=0))
    alpha = alpha * (0.72 + 8 * (person["brow_thick"] - 0.02).clamp(0, 0.03))
    tint(layer, alpha.clamp(0, 1), person["brow"])
    layer.gloss *= 1 - alpha


def nose(person: dict[str, Tensor], shape: Shape, grid: Grid, layer: Layer) -> None:
    """Bridge, tip, wings and nostrils; AU9 lifts the wings."""
    u, v, pixel = grid
    sneer = shape.unit("AU9") + 0.4 * shape.unit("AU10")
    sign = u.sign()
    sneer = half(sneer, sign)
    end, wide = person["nose_length"], person["nose_width"]
    t = (v + 0.14) / (end - 0.06 + 0.14)
    rise = smooth(t)
    fall = smooth((v - end + 0.075) * (1 / 0.10))
    flank = wide * (0.46 + 0.42 * rise)
    x = u / flank
    inside = (1 - x * x).clamp(min=0)
    tall = person["nose_height"] * (0.25 + 0.75 * t.clamp(0, 1)) * smooth(t * 2.5) * (1 - fall)
    layer.slope_u += tall * inside * x * 0.966 / flank
    steep = (fall * (1 - fall)) * inside * 3.4
    layer.slope_v += steep - 0.18 * inside * inside * smooth(t * 3) * (1 - fall)
    raise_bump(layer, u / (0.62 * wide), (v - end + 0.055) / 0.085, (0.62 * wide, 0.085), 0.040)
    wing_v = end - 0.035 - 0.028 * sneer
    wing_x, wing_y = (u.abs() - 0.80 * wide) / (0.42 * wide), (v - wing_v) / 0.062
    wing = (1 - wing_x * wing_x - wing_y * wing_y).clamp(min=0)
    layer.slope_u += wing * wing_x * sign * 2.2
    layer.slope_v += wing * wing_y * 1.8
    edge_x = (u.abs() - 1.02 * wide - 0.01 * sneer) * 0.9 + (v - wing_v).square() * 1.5
    edge_y = (v - wing_v) / 0.075
    layer.open *= 1 - (0.30 + 0.25 * sneer) * stroke(edge_x, 0.012, pixel, 0.02) * (
        1 - edge_y * edge_y
    ).clamp(min=0)
    hole_x, hole_y = (
        (u.abs() - 0.46 * wide) / (0.27 * wide),
        (v - end + 0.002 + 0.018 * sneer + 0.05 * (u.abs() - 0.06)),
    )
    hole = cover(((hole_x * hole_x + (hole_y / 0.021).square()).sqrt() - 1) * 0.021, pixel, 0.016)
    tint(layer, hole * 0.85, person["skin"] * person["skin"].new_tensor([0.16, 0.07, 0.06]))
    under = dome(u / (1.15 * wide), (v - end - 0.035) / 0.07)
    layer.open *= 1 - 0.30 * under
    warm = dome(u / (1.4 * wide), (v - end + 0.05) / 0.16) * 0.13
    darken(layer, warm, (0.0, 1.0, 1.0))
    layer.gloss += 0.10 * dome(u / (0.35 * wide), (v - end + 0.09) / 0.07)


def mouth(person: dict[str, Tensor], lips: Mouth, grid: Grid, layer: Layer) -> None:
    """Lips, the dark between them, teeth and tongue."""
    u, v, pixel = grid
    left, right = lips.corner_x[:, :1], lips.corner_x[:, 1:]
    x = (u - (right - left) * 0.5) / ((left + right) * 0.5)
    held = x.clamp(-1, 1)
    outer_up, inner_up, inner_low, outer_low = lip_lines(lips, held)
    beyond = (x.abs() - 1) * 0.2
    below = (v - outer_low) / 0.085
    layer.open *= 1 - 0.30 * (1 - (below - 0.35).square() * 2.6).clamp(min=0) * (0.75 - held * held).clamp(
        min=0
    )
    groove = dome(u / 0.045, (v - outer_up + 0.075) / 0.08)
    layer.open *= 1 - 0.16 * groove
    band = cover(torch.maximum(torch.maximum(outer_up - v, v - outer_low) * 0.9, beyond), pixel, 0.010)
    tint(layer, band * 0.92, person["lips"])
    low = (v - inner_low) / (outer_low - inner_low + 0.012)
    high = (v - outer_up) / (inner_up - outer_up + 0.012)
    lower = step(v - inner_low)
    upper_bend = 0.15 + high.clamp(0, 1) * 0.55
    bend = upper_bend + lower * (low.clamp(0, 1) * 1.7 - 0.75 - upper_bend)
    layer.slope_v += band * bend
    layer.slope_u += band * held * 0.25
    layer.gloss += band * lower * 0.16
    opening = cover(torch.maximum(torch.maximum(inner_up - v, v - inner_low) * 0.9, beyond), pixel)
    tint(layer, opening, u.new_tensor([CAVITY]))
    blend(layer.open, opening, 1.0)
    for flat in (layer.slope_u, layer.slope_v, layer.gloss):
        flat *= 1 - opening
    _teeth(lips, grid, layer, held, opening, inner_up, inner_low)
    seam = stroke(v - (inner_up + inner_low) * 0.5, 0.0075, pixel, 0.010)
    closed = (1 - (inner_low - inner_up) * 40).clamp(0, 1) * cover(beyond, pixel)
    tint(layer, (seam * closed * 0.85).clamp(0, 1), person["lips"] * 0.16)
    corner = dome((x.abs() - 1.01) / 0.10, (v - inner_up) / 0.035)
    layer.open *= 1 - 0.40 * corner


def _teeth(
    lips: Mouth, grid: Grid, layer: Layer, x: Tensor, opening: Tensor, top: Tensor, bottom: Tensor
) -> None:
    u, v, pixel = grid
    square = x * x
    tongue = smooth(((v - bottom) / 0.10 + 1.15 - 0.6 * square) * 1.6) * (lips.gap_low * 8 - 0.4).clamp(0, 1)
    tint(layer, opening * tongue * 0.85, u.new_tensor([TONGUE]))
    edge = lips.middle - lips.gap_up + 0.052 + 0.6 * half(lips.corner_y, x.sign()) * square
    row = opening * cover(v - edge + 0.02 * square, pixel, 0.008)
    gap = stroke((u * 15.4 + 0.5) - (u * 15.4 + 0.5).floor() - 0.5, 0.02, pixel * 15.4)
    shade = (1 - 0.75 * square) * (1 - 0.22 * gap) * (0.55 + 0.45 * smooth((v - top) * 30))
    blend(layer.rgb, row[:, None], u.new_tensor(TEETH)[:, None] * shade[:, None])
    layer.gloss += row * 0.12


def spectacles(person: dict[str, Tensor], eye_x: Tensor, grid: Grid, layer: Layer) -> None:
    """Both halves of a pair of glasses at once, u outwards: rim, bridge, temple, a slight reflection."""
    u, v, pixel = grid
    x = (u - eye_x - 0.01) / person["glasses_width"]
    y = (v - 0.015) / person["glasses_height"]
    round_ = x * x + y * y
    boxy = (x * x * x * x + y * y * y * y).sqrt()
    level = (boxy + person["glasses_round"] * (round_ - boxy)).clamp(min=1e-4).sqrt()
    away = (level - 1) * person["glasses_height"]
    lens = cover(away, pixel)
    layer.open *= 1 - 0.07 * lens
    streak = (x - 0.6 * y + 0.25).abs()
    layer.glow += lens * 0.045 * (1 - smooth(streak * 5 - 0.6))
    rim = stroke(away, person["glasses_rim"], pixel)
    bridge = stroke(v + 0.03 - 0.8 * (u * u), person["glasses_rim"] * 0.9, pixel) * cover(
        u - eye_x + person["glasses_width"] * 0.98, pixel
    )
    temple = stroke(v + 0.04, person["glasses_rim"], pixel) * cover(
        eye_x + person["glasses_width"] - u, pixel
    )
    frame = torch.maximum(torch.maximum(rim, bridge), temple)
    tint(layer, frame, person["frame"])
    blend(layer.slope_v, frame, -0.3)
    blend(layer.open, frame, 1.0)
    blend(layer.gloss, frame, 0.35)
    layer.glow *= 1 - frame
    drop = stroke(away - 0.03, person["glasses_rim"], pixel, 0.03)
    layer.open *= 1 - 0.12 * drop * (1 - frame) * step(v)
