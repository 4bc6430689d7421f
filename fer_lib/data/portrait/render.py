"""Layers into pictures: what is painted where, in which order, and the mask."""

from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from fer_lib.data.portrait import features, head, wrinkles
from fer_lib.data.portrait.anatomy import Shape, outline_level, shape_of
from fer_lib.data.portrait.canvas import Grid, Layer, add, cover, cut, paste, smooth, step, window
from fer_lib.data.portrait.light import Light, develop, lights, shade
from fer_lib.data.portrait.pose import PIVOT, Pose, at_depth, landmarks, on_face, pose_of, project, upright
from fer_lib.data.portrait.views import ZOOM

SIDES = (-1.0, 1.0)
BODY_TOP, BEARD_TOP = 0.50, 0.22  # no neck, no beard above these shares of the picture


class DrawnFaces(NamedTuple):
    """What the renderer returns for N faces.

    Attributes:
        image: float32 (N, 3, H, W), sRGB 0-1.
        mask: float32 (N, 1, H, W), 1 on brows, eyes, nose wings and mouth.
        landmarks: float32 (N, 68, 2), (x, y) in pixels, the corner pixel's centre at (0, 0).

    Explained in: book/faces.ipynb
    """

    image: Tensor
    mask: Tensor
    landmarks: Tensor


class Scene(NamedTuple):
    """All that N pictures need before the first pixel is computed."""

    person: dict[str, Tensor]
    view: dict[str, Tensor]
    shape: Shape
    pose: Pose
    light: Light
    camera_light: Light
    landmarks: Tensor
    size: int


def arrange(person: dict[str, Tensor], units: Tensor, view: dict[str, Tensor], size: int) -> Scene:
    """The scene of N persons, (N, A, 2) action units and N views; ``size`` is in pixels."""
    shape, pose = shape_of(person, units), pose_of(view, size)
    person, view = _columns(person), _columns(view)
    return Scene(person, view, shape, pose, *lights(view, pose), landmarks(shape, pose), size)


def paint(scene: Scene, rows: slice) -> DrawnFaces:
    """Draw some rows of a scene."""
    person, view, shape, pose, light, camera_light, points, size = _rows(scene, rows)
    order = torch.arange(size * size, device=points.device)
    x, y = (order % size).float()[None], (order // size).float()[None]
    across, down = upright(pose, x, y)
    pixel = 1 / pose.scale
    face = Grid(*on_face(pose, shape.head, across, down, nose=False), pixel)
    plane = Grid(*at_depth(pose, across, down, -0.02), pixel)
    canvas = head.backdrop(view, (x + 0.5) / size, (y + 0.5) / size)
    outer = head.hair_distance(person, plane)
    hair = shade(head.hair(person, plane), light)
    dense = (person["hair_density"] * 2).clamp(max=1)
    _over(canvas, hair * 0.55, cover(outer, pixel, 0.015) * dense)
    alpha, level = head.face_alpha(shape.head, person["beard"], face)
    _body(canvas, person, shape, pose, plane, camera_light, size)
    _ears(canvas, person, shape, pose, light, size)
    line = head.hairline(person, face.u, face.v)
    skin = head.skin(person, shape, face, level, line)
    _beard(skin, person, shape, face, size)
    _details(skin.buffer, person, shape, view, pose, size)
    _over(canvas, shade(skin, light), alpha)
    front = head.hair_front(person, face, outer, line)
    _over(canvas, hair, front)
    _occluder(canvas, person, view, plane, light)
    mask = _mask(shape, face) * alpha
    image = develop(canvas, view, size)
    return DrawnFaces(image, mask.view(len(mask), 1, size, size), points)


def _columns(values: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value[:, None] if value.ndim == 1 else value for name, value in values.items()}


def _body(canvas: Tensor, person, shape: Shape, pose: Pose, plane: Grid, light: Light, size: int) -> None:
    """The neck and what is below it, in the lower rows of the picture only."""
    start = size * int(size * BODY_TOP)
    order = torch.arange(start, size * size, device=plane.u.device)
    px = ((order % size).float() - pose.x) / pose.scale
    py = ((order // size).float() - pose.y) / pose.scale + PIVOT
    below = smooth((outline_level(shape.head, plane.u[:, start:], plane.v[:, start:] - 0.05) - 0.95) * 2.2)
    layer, shown = head.body(person, px, py, plane.pixel, 0.38 + 0.62 * below)
    _over(canvas[:, :, start:], shade(layer, light), shown)


def _ears(canvas: Tensor, person, shape: Shape, pose: Pose, light: Light, size: int) -> None:
    for sign in SIDES:
        centre = project(pose, sign * (person["face_width"] + 0.02), torch.full_like(pose.scale, 0.14), -0.02)
        place = window(*centre, int(0.36 * ZOOM[1] * size) + 2, int(0.62 * ZOOM[1] * size) + 2, size)
        grid = Grid(*at_depth(pose, *upright(pose, place.x, place.y), -0.02), 1 / pose.scale)
        layer, shown = head.ears(person, grid._replace(u=grid.u * sign))
        layer.slope_u *= sign
        behind = cut(canvas, place)
        _over(behind, shade(layer, light), shown)
        paste(canvas, place, behind)


def _beard(skin: Layer, person, shape: Shape, face: Grid, size: int) -> None:
    """In the lower rows, and only where there is one."""
    rows = ((person["stubble"] + person["moustache"])[:, 0] > 0).nonzero()[:, 0]
    start = size * int(size * BEARD_TOP)
    if len(rows):
        few = {name: person[name][rows] for name in head.BEARD_TRAITS}
        lower = skin.part(rows, start)
        lips = _rows(shape.mouth, rows)
        head.beard(few, lips, Grid(face.u[rows, start:], face.v[rows, start:], face.pixel[rows]), lower)
        skin.buffer[rows, :, start:] = lower.buffer


def _occluder(canvas: Tensor, person, view, plane: Grid, light: Light) -> None:
    rows = (view["occlusion"][:, 0] > 0).nonzero()[:, 0]
    if len(rows):
        few = {name: view[name][rows] for name in view if name.startswith(("occlu", "cloth"))}
        layer, shown = head.occluder(person["skin"][rows], few, _rows(plane, rows))
        part = canvas[rows]
        _over(part, shade(layer, _rows(light, rows)), shown)
        canvas[rows] = part


def _rows(part, rows: Tensor | slice):
    """Some rows of every tensor in nested tuples and dictionaries."""
    if isinstance(part, Tensor):
        return part[rows]
    if isinstance(part, dict):
        return {name: value[rows] for name, value in part.items()}
    if not isinstance(part, tuple):
        return part
    values = [_rows(value, rows) for value in part]
    return type(part)(*values) if hasattr(part, "_fields") else tuple(values)


def _details(
    buffer: Tensor, person: dict[str, Tensor], shape: Shape, view: dict[str, Tensor], pose: Pose, size: int
) -> None:
    """Paint the features, each inside a window of its own."""
    spot = partial(_window, pose, shape, size=size)
    place, grid = spot(0.0, -0.32, 0.45, 0.94, 0.60, nose=False)
    layer = Layer(cut(buffer, place))
    wrinkles.forehead(person, shape, grid, layer)
    paste(buffer, place, layer.buffer)
    place, grid = spot(0.0, 0.18, 0.60, 0.60, 0.82, nose=True)
    layer = Layer(cut(buffer, place))
    features.nose(person, shape, grid, layer)
    wrinkles.nose_root(shape, grid, layer)
    paste(buffer, place, layer.buffer)
    place, grid = spot(0.0, 0.70, 0.40, 1.04, 0.92, nose=True)
    layer = Layer(cut(buffer, place))
    wrinkles.around_mouth(person, shape, grid, layer)
    features.mouth(person, shape.mouth, grid, layer)
    paste(buffer, place, layer.buffer)
    _orbits(buffer, person, shape, view, pose, size)
    _spectacles(buffer, person, shape, pose, size)


def _orbits(buffer: Tensor, person, shape: Shape, view, pose: Pose, size: int) -> None:
    """Both eyes with their brows, in two windows that meet at the root of the nose."""
    count, wide, high = len(buffer), int(0.72 * ZOOM[1] * size) + 1, int(0.78 * ZOOM[1] * size) + 1
    point = partial(torch.full_like, pose.scale)
    root = project(pose, point(0.0), point(-0.1), point(0.6))[0]
    heights = [project(pose, point(0.33 * sign), point(-0.09), point(0.35))[1] for sign in SIDES]
    places = [
        window(root + sign * wide / 2, y, wide, high, size) for sign, y in zip(SIDES, heights, strict=True)
    ]
    x, y = (torch.cat([getattr(place, axis) for place in places], 1) for axis in "xy")
    u, v = on_face(pose, shape.head, *upright(pose, x, y), nose=False)
    part = torch.cat([cut(buffer, place) for place in places])  # (2N, 8, P)
    sign = torch.tensor(SIDES, device=u.device).repeat_interleave(count)[:, None]  # (2N, 1)
    own = {name: torch.cat([person[name]] * 2) for name in features.ORBIT_TRAITS}
    turned = torch.where(torch.cat([view["light_x"]] * 2) < 0, -sign, sign)
    own |= {
        "gaze_u": torch.cat([view["gaze_x"]] * 2) * sign,
        "gaze_v": torch.cat([view["gaze_y"]] * 2),
        "glint_u": turned,
    }
    grid = Grid(_sided(u) * sign, _sided(v), torch.cat([1 / pose.scale] * 2))
    layer, brow, eye = (
        Layer(part.clone()),
        *(type(pair)(*map(_sided, pair)) for pair in (shape.brow, shape.eye)),
    )
    layer.slope_u *= sign
    features.socket(own, eye, grid, layer)
    wrinkles.around_eye(own, {name: _sided(shape.unit(name)) for name in ("AU6", "AU7")}, eye, grid, layer)
    features.eyeball(own, eye, grid, layer)
    features.lashes(own, eye, grid, layer)
    features.eyebrow(own, brow, grid, layer)
    layer.slope_u *= sign
    change = (layer.buffer - part) * step(grid.u)[:, None]  # each side its own: the windows may overlap
    for place, half in zip(places, change.chunk(2), strict=True):
        add(buffer, place, half)


def _sided(pair: Tensor) -> Tensor:
    """The left and the right half of each row, one below the other: (N, 2 P) -> (2 N, P)."""
    return torch.cat([pair[:, : pair.shape[1] // 2], pair[:, pair.shape[1] // 2 :]])


def _spectacles(buffer: Tensor, person, shape: Shape, pose: Pose, size: int) -> None:
    rows = (person["glasses"][:, 0] > 0).nonzero()[:, 0]
    if len(rows):
        few = {name: person[name][rows] for name in person if name.startswith(("glasses", "frame"))}
        pose, shape = _rows(pose, rows), _rows(shape, rows)
        place, grid = _window(pose, shape, 0.0, 0.0, 0.4, 1.6, 0.8, size, nose=False)
        part = buffer[rows]
        layer = Layer(cut(part, place))
        features.spectacles(few, shape.eye.x[:, :1], grid._replace(u=grid.u.abs()), layer)
        paste(part, place, layer.buffer)
        buffer[rows] = part


def _window(
    pose: Pose, shape: Shape, u: float, v: float, d: float, wide: float, high: float, size: int, nose: bool
):
    point = (torch.full_like(pose.scale, value) for value in (u, v, d))
    scale = ZOOM[1] * size
    place = window(*project(pose, *point), int(wide * scale) + 2, int(high * scale) + 2, size)
    return place, Grid(*on_face(pose, shape.head, *upright(pose, place.x, place.y), nose), 1 / pose.scale)


def _over(canvas: Tensor, radiance: Tensor, alpha: Tensor) -> None:
    canvas += alpha[:, None] * (radiance - canvas)


def _mask(shape: Shape, grid: Grid) -> Tensor:
    """The union of ellipses around the eyes with their brows, the nose wings and the mouth."""
    u, v, pixel = grid
    side = u.abs()
    lips = shape.mouth
    wide = lips.corner_x.amax(1, keepdim=True) + 0.08
    top, bottom = lips.middle - 0.14, lips.middle + lips.gap_low + lips.thick_low + 0.06
    middle, high = (top + bottom) * 0.5, (bottom - top) * 0.5
    ellipses = (
        ((side - 0.31) / 0.29, (v + 0.13) / 0.27),
        (side / 0.21, (v - 0.36) / 0.12),
        (side / wide, (v - middle) / high),
    )
    levels = [x * x + y * y for x, y in ellipses]
    return cover((torch.minimum(torch.minimum(*levels[:2]), levels[2]).sqrt() - 1) * 0.2, pixel)
