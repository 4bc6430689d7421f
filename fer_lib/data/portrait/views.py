"""The scene around a face: pose, light, background, what hides it; and how hard all that is."""

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from fer_lib.data.portrait.draws import Draws
from fer_lib.errors import FerError

ZOOM = (0.45, 0.55)  # picture widths per face unit; half a head is one unit


@dataclass(frozen=True)
class Spread:
    """Every setting of the difficulty in one place; the values are those at difficulty 1.

    At difficulty d each is multiplied by d (see :meth:`at`), so 0 is a frontal
    face in even light that shows its prototype in full.

    Attributes:
        weakness: the strength of an expression is uniform between 1 - weakness and 1.
        blend: largest share of a neighbouring emotion's action units.
        unit_gain: standard deviation of each action unit's own factor.
        dropout: chance that an action unit does not show.
        stray: largest action unit that belongs to no emotion; its cube law keeps most small.
        blink: largest eye closure, as ``stray``.
        asymmetry: standard deviation of the difference between the two halves of the face.
        rest: standard deviation of the resting face's action units of the brows, lids and mouth.
        yaw, pitch, roll: largest turn of the head, degrees.
        shift: largest displacement, picture widths.
        zoom: share of the range of sizes that is used.
        gaze: largest displacement of the iris, in its own radii.
        light: how far the light leaves the camera's axis.
        tint: how coloured the light is.
        exposure: largest deviation of the exposure, in octaves.
        noise: standard deviation of the sensor noise, share of full scale.
        occlusion: chance that a hand or a cloth hides part of the face.

    Explained in: book/faces.ipynb
    """

    weakness: float = 1.0
    blend: float = 0.9
    unit_gain: float = 0.5
    dropout: float = 0.3
    stray: float = 0.7
    blink: float = 0.6
    asymmetry: float = 0.3
    rest: float = 0.3
    yaw: float = 28.0
    pitch: float = 18.0
    roll: float = 16.0
    shift: float = 0.06
    zoom: float = 1.0
    gaze: float = 0.8
    light: float = 1.0
    tint: float = 1.0
    exposure: float = 0.7
    noise: float = 0.03
    occlusion: float = 0.16

    @classmethod
    def at(cls, difficulty: float) -> "Spread":
        """The spreads at a difficulty between 0 and 1."""
        return cls(*(field.default * difficulty for field in fields(cls)))


def plain_view(count: int, device: str = "cpu", **values: float) -> dict[str, Tensor]:
    """A frontal head in soft light before a plain background, ``count`` times.

    Args:
        count: how many rows.
        device: where the tensors lie.
        values: what differs, the same in each row: ``plain_view(3, yaw=20)``. Names and
            units: ``yaw`` (> 0: towards the right of the picture), ``pitch`` (> 0: up), ``roll``
            (> 0: clockwise), degrees; ``shift_x``, ``shift_y``, picture widths; ``zoom``;
            ``light_x``, ``light_y`` (right and down are positive), the light's slope;
            ``exposure``, octaves; ``noise``; ``gaze_x``, ``gaze_y``; ``occlusion`` (0 or 1) ...

    Returns:
        name -> float32 (N,), or (N, 3) for a colour in linear light.

    Raises:
        FerError: if a view has no such value.

    Explained in: book/faces.ipynb
    """
    for name in values:
        if name not in _PLAIN:
            raise FerError(f"plain_view has no {name!r}; take one of {', '.join(_PLAIN)}.")
    view = {name: torch.full((count,), float(value), device=device) for name, value in _PLAIN.items()}
    view |= {
        name: torch.tensor([colour] * count, device=device).view(count, 3)
        for name, colour in _COLOURS.items()
    }
    return view | {name: torch.full_like(view[name], float(value)) for name, value in values.items()}


_PLAIN = {
    "yaw": 0, "pitch": 0, "roll": 0, "shift_x": 0, "shift_y": 0, "zoom": 0.5, "gaze_x": 0, "gaze_y": 0,
    "light_x": -0.35, "light_y": -0.55, "light_power": 0.78, "exposure": 0, "noise": 0, "grain": 0,
    "gradient_x": 0, "gradient_y": 0.8, "blob_x": 0.3, "blob_y": 0.3, "blob_radius": 0.5, "blob_power": 0.15,
    "stripe": 0, "stripe_power": 0,
    "occlusion": 0, "occluder_x": 0.5, "occluder_y": 0.6, "occluder_angle": 0.3, "occluder_cloth": 0,
}  # fmt: skip
_COLOURS = {
    "light": (1.0, 0.98, 0.95),
    "backdrop": (0.50, 0.56, 0.60),
    "backdrop_far": (0.30, 0.36, 0.42),
    "cloth_near": (0.2, 0.25, 0.4),
}


def sample_views(draws: Draws, spread: Spread) -> dict[str, Tensor]:
    """Pose, light, background and occlusion of N faces; the names are those of :func:`plain_view`.

    Explained in: book/faces.ipynb
    """
    device = draws.index.device
    view = plain_view(len(draws.index), device)
    for turn in ("yaw", "pitch", "roll"):
        limit = getattr(spread, turn)
        view[turn] = draws.bell(turn, 0, limit / 2).clamp(-limit, limit)
    for shift in ("shift_x", "shift_y"):
        view[shift] = draws.uniform(shift, -spread.shift, spread.shift)
    middle, half = sum(ZOOM) / 2, (ZOOM[1] - ZOOM[0]) / 2 * spread.zoom
    view["zoom"] = draws.uniform("zoom", middle - half, middle + half)
    for gaze in ("gaze_x", "gaze_y"):
        view[gaze] = draws.bell(gaze, 0, spread.gaze / 3)
    _sample_light(view, draws, spread)
    _sample_backdrop(view, draws)
    view["occlusion"] = draws.chance("occlusion", spread.occlusion).float()
    view["occluder_x"] = draws.uniform("occluder x", -0.62, 0.62)
    view["occluder_y"] = draws.uniform("occluder y", 0.35, 1.0)
    view["occluder_angle"] = draws.uniform("occluder angle", -0.6, 0.6)
    view["occluder_cloth"] = draws.chance("occluder cloth", 0.4).float()
    return view


def _sample_light(view: dict[str, Tensor], draws: Draws, spread: Spread) -> None:
    view["light_x"] = draws.uniform("light x", -1.5, 1.5) * spread.light
    view["light_y"] = draws.uniform("light y", -1.1, 0.25) * spread.light - 0.3
    view["light_power"] = draws.uniform("light power", -0.25, 0.2) * spread.light + 0.78
    warmth = draws.bell("light warmth", 0.03, 0.12) * spread.tint
    green = draws.bell("light green", 0.0, 0.03) * spread.tint
    view["light"] = torch.stack([1 + warmth, 0.98 + green, 0.95 - warmth], -1)  # (N, 3)
    view["exposure"] = draws.uniform("exposure", -spread.exposure, spread.exposure)
    view["noise"] = draws.uniform("noise", 0.3, 1) * spread.noise
    view["grain"] = draws.uniform("grain", 0, 65536)


def _sample_backdrop(view: dict[str, Tensor], draws: Draws) -> None:
    hue, pale = draws.uniform("backdrop hue"), draws.uniform("backdrop pale", 0.35, 0.95)
    level = draws.uniform("backdrop level")
    level = level * level * 0.6 + 0.05
    view["backdrop"] = hue_colour(hue, pale) * level[:, None]
    far = draws.uniform("backdrop far", 0.3, 1.1) * level
    view["backdrop_far"] = hue_colour(hue + draws.uniform("backdrop turn", -0.2, 0.2), pale) * far[:, None]
    view["cloth_near"] = hue_colour(draws.uniform("cloth near"), 0.3 + 0.5 * pale) * (
        0.08 + 0.4 * level[:, None]
    )
    view["gradient_x"] = draws.uniform("gradient x", -1, 1)
    view["gradient_y"] = draws.uniform("gradient y", -0.3, 1)
    view["blob_x"], view["blob_y"] = draws.uniform("blob x"), draws.uniform("blob y", 0, 0.7)
    view["blob_radius"] = draws.uniform("blob radius", 0.1, 0.55)
    view["blob_power"] = draws.bell("blob power", 0.1, 0.35)
    view["stripe"] = draws.uniform("stripe", 1.5, 5)
    view["stripe_power"] = draws.chance("striped", 0.3).float() * draws.uniform("stripe power", 0.08, 0.3)


def hue_colour(hue: Tensor, pale: Tensor) -> Tensor:
    """A colour of that hue (turns) in linear light, ``pale`` 1 is grey; float32 (N, 3)."""
    phase = torch.stack([hue, hue + 1 / 3, hue + 2 / 3], -1)
    wave = ((phase - phase.floor()) * 2 - 1).abs()  # (N, 3)
    return wave * (1 - pale[:, None]) + pale[:, None] * 0.6
