"""Folds of the skin that action units and age draw."""

from torch import Tensor

from fer_lib.data.portrait.anatomy import Eye, Shape, half
from fer_lib.data.portrait.canvas import Grid, Layer, crease, dome, raise_bump, wave


def forehead(person: dict[str, Tensor], shape: Shape, grid: Grid, layer: Layer) -> None:
    """Level lines of AU1 (middle) and AU2 (sides), upright ones of AU4 between the brows."""
    u, v, pixel = grid
    sign = u.sign()
    inner, outer, frown = (half(shape.unit(name), sign) for name in ("AU1", "AU2", "AU4"))
    middle = (1 - u * u * 16).clamp(min=0)
    raised = (inner * middle + outer * (1 - middle)).clamp(0, 1) * (0.35 + 0.65 * person["age"].sqrt())
    amount = raised + 0.25 * (person["age"] - 0.45).clamp(min=0)
    bow = 0.10 * u * u - 0.03 * inner * middle
    for i, height in enumerate((-0.36, -0.44, -0.52)):
        wavy = height + bow + 0.006 * wave(u + 0.13 * i, 2.3, pixel)
        crease(layer, v - wavy, u * (2.3 + 0.3 * i), amount * (0.9 - 0.15 * i), 0.016, pixel, upright=False)
    for i in (-1, 1):
        side = u - i * (0.050 - 0.012 * frown) - i * 0.10 * (v + 0.2).square()
        crease(
            layer,
            side,
            (v + 0.205) * (1 / 0.125),
            frown * 1.1 + 0.2 * (person["age"] - 0.6).clamp(min=0),
            0.015,
            pixel,
            upright=True,
        )
    raise_bump(layer, u / 0.17, (v + 0.19) / 0.11, (0.17, 0.11), 0.03 * frown)


def nose_root(shape: Shape, grid: Grid, layer: Layer) -> None:
    """Level and slanting lines across the bridge: AU9."""
    u, v, pixel = grid
    sign = u.sign()
    sneer = half(shape.unit("AU9"), sign)
    for height in (-0.06, 0.0):
        line = height + 0.35 * u.abs() * (1 if height > 0 else 0.4)
        crease(layer, v - line, u * (1 / 0.12), sneer * 0.9, 0.014, pixel, upright=False)
    side = u.abs() - 0.095 - 0.25 * (v - 0.12)
    _fold(layer, side, (v - 0.13) * (1 / 0.13), 0.8 * sneer, sign, pixel)


def _fold(layer: Layer, side: Tensor, along: Tensor, depth: Tensor, sign: Tensor, pixel: Tensor) -> None:
    """An upright crease in both halves at once; ``side`` is measured outwards."""
    layer.slope_u *= sign
    crease(layer, side, along, depth, 0.016, pixel, upright=True)
    layer.slope_u *= sign


def around_eye(
    person: dict[str, Tensor], units: dict[str, Tensor], eye: Eye, grid: Grid, layer: Layer
) -> None:
    """Crow's feet and the bulge under the eye: AU6, AU7; u runs outwards, units are (2N, 1)."""
    u, v, pixel = grid
    raised, tight = units["AU6"], units["AU7"]
    reach = u - eye.x - eye.width - 0.03
    amount = raised * (0.55 + 0.45 * person["age"]) + 0.30 * (person["age"] - 0.5).clamp(min=0)
    for slope in (-0.42, 0.0, 0.40):
        line = slope * reach + 0.8 * reach * reach * (1 if slope >= 0 else -0.3)
        crease(layer, v - line, (reach - 0.055) * (1 / 0.065), amount, 0.013, pixel, upright=False)
    pouch = 0.5 * tight + raised
    raise_bump(layer, (u - eye.x) / 0.17, (v - 0.085) / 0.05, (0.17, 0.05), 0.014 * pouch)
    line = 0.135 - 0.03 * raised - 0.9 * (u - eye.x).square()
    crease(layer, v - line, (u - eye.x) * (1 / 0.19), 0.75 * pouch, 0.018, pixel, upright=False)


def around_mouth(person: dict[str, Tensor], shape: Shape, grid: Grid, layer: Layer) -> None:
    """Nasolabial fold (AU9, AU10, AU12, age), dimple (AU14), corner lines (AU15), puckered chin (AU17)."""
    u, v, pixel = grid
    raise_bump(layer, u / 0.36, (v - 0.56) / 0.26, (0.36, 0.26), 0.045)
    raise_bump(layer, u / 0.19, (v - shape.head.chin + 0.12) / 0.14, (0.19, 0.14), 0.035)
    sign = u.sign()
    units = {
        n: half(shape.unit(n), sign) for n in ("AU6", "AU9", "AU10", "AU12", "AU14", "AU15", "AU17", "AU20")
    }
    lips = shape.mouth
    corner_x, corner_y = half(lips.corner_x, sign), half(lips.corner_y, sign) + lips.middle
    top = person["nose_length"] - 0.06 - 0.03 * units["AU9"]
    span = corner_y + 0.02 - top
    t = (v - top) / span
    start = person["nose_width"] + 0.035
    line = start + (corner_x + 0.075 - start) * t + 0.055 * t * (1 - t) * 4 * (0.4 + units["AU12"])
    amount = (
        0.85 * units["AU12"]
        + 0.5 * units["AU9"]
        + 0.75 * units["AU10"]
        + 0.2 * units["AU6"]
        + 0.25 * units["AU20"]
    )
    amount = amount.clamp(max=1.2) + 0.12 + 0.55 * (person["age"] - 0.35).clamp(min=0)
    _fold(layer, (u.abs() - line) * 0.42, t * 2 - 1, amount, sign, pixel)
    pit = dome((u.abs() - corner_x - 0.045) / 0.035, (v - corner_y) / 0.075)
    layer.open *= 1 - 0.62 * pit * units["AU14"]
    down = (v - corner_y - 0.075) * (1 / 0.075)
    side = u.abs() - corner_x - 0.010 - 0.25 * (v - corner_y)
    sag = 0.55 * units["AU15"] + 0.35 * (person["age"] - 0.5).clamp(min=0)
    _fold(layer, side * 0.8, down, sag, sign, pixel)
    chin = shape.head.chin - 0.13
    boss = dome(u / 0.17, (v - chin) / 0.12)
    pucker = 0.5 * (units["AU17"] + 0.3 * units["AU15"])
    layer.slope_v += boss * pucker * 0.9 * wave(v + 0.5 * u.abs(), 13, pixel)
    layer.slope_u += boss * pucker * 0.9 * wave(u + 0.3 * v, 11, pixel)
    crease(layer, v - chin + 0.105 - 1.2 * u * u, u * (1 / 0.17), units["AU17"], 0.018, pixel, upright=False)
