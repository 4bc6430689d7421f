"""The large layers: backdrop, neck and clothes, ears, skin, beard, hair, what hides the face."""

import torch
from torch import Tensor

from fer_lib.data.portrait.anatomy import MIDDLE, Head, Mouth, Shape, half, lip_lines, outline_level
from fer_lib.data.portrait.canvas import (
    Grid,
    Layer,
    blend,
    cover,
    darken,
    dome,
    noise,
    smooth,
    step,
    stroke,
    tint,
    wave,
)

NECK, CROWN = 1.02, -0.20  # where the neck leaves the chin; the middle of the hair's dome


def backdrop(view: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
    """Radiance (N, 3, P) behind the head: a gradient, a soft disc, sometimes stripes; x, y in 0-1."""
    share = 0.5 + view["gradient_x"] * (x - 0.5) + view["gradient_y"] * (y - 0.5)
    share = smooth(share)
    radius = view["blob_radius"]
    away = ((x - view["blob_x"]) / radius, (y - view["blob_y"]) / radius)
    level = 1 + view["blob_power"] * smooth((1.15 - (away[0] * away[0] + away[1] * away[1])) * 1.4)
    band = (x + 0.3 * y) * view["stripe"]
    level = level * (1 + view["stripe_power"] * (smooth((band - band.floor() - 0.5).abs() * 8 - 1.5) - 0.5))
    near, far = view["backdrop"][..., None], view["backdrop_far"][..., None]
    return (near + share[:, None] * (far - near)) * level[:, None]


def body(
    person: dict[str, Tensor], x: Tensor, y: Tensor, pixel: Tensor, shade: Tensor
) -> tuple[Layer, Tensor]:
    """Neck, shoulders and clothes, upright whatever the head does; ``shade`` is the chin's shadow."""
    wide = person["neck_width"]
    spread = (y - NECK).clamp(min=0)
    edge = wide + spread * spread * 0.9
    layer = Layer.plain(person["skin"], x, 0.05)
    layer.slope_u += x / edge * 1.1
    layer.open *= shade
    tendon = (x.abs() - 0.13 - 0.25 * spread) / 0.05
    layer.open *= 1 - 0.10 * (1 - tendon * tendon).clamp(min=0)
    alpha = cover(torch.maximum(x.abs() - edge, 0.3 - y), pixel)
    beside = (x.abs() - wide).clamp(min=0)
    dip = (1 - x * x / (wide * wide * 1.15)).clamp(min=0)
    edge = 1.20 + 0.42 * beside - 0.10 * beside * beside + person["collar"] * dip
    cloth = cover((edge - y) * 0.9, pixel)
    tint(layer, cloth, person["cloth"])
    hem = stroke(edge + 0.035 - y, 0.006, pixel)
    blend(layer.open, cloth, 1 - 0.3 * hem + 0.10 * wave(x + 0.4 * y, 2.3, pixel))
    blend(layer.slope_u, cloth, x * 0.5)
    layer.slope_v -= cloth * 0.35
    return layer, torch.maximum(alpha, cloth)


def ears(person: dict[str, Tensor], grid: Grid) -> tuple[Layer, Tensor]:
    """One ear, in the plane of depth 0; u runs outwards."""
    x = (grid.u - person["face_width"] - 0.03) / 0.10
    y = (grid.v - 0.10 + 0.05 * x) / 0.20
    level = x * x + y * y
    layer = Layer.plain(person["skin"] * person["skin"].new_tensor([1.0, 0.88, 0.86]), x, 0.06)
    layer.slope_u += x * 0.9 - 1.6 * dome((x - 0.15) / 0.6, (y + 0.1) / 0.7) * x
    layer.slope_v += y * 0.5
    layer.open *= 1 - 0.5 * dome((x + 0.1) / 0.55, (y + 0.05) / 0.62)
    alpha = cover((level.sqrt() - 1) * 0.11, grid.pixel)
    bead_x, bead_y = (grid.u - person["face_width"] - 0.015) / 0.032, (grid.v - 0.33) / 0.04
    bead = (bead_x * bead_x + bead_y * bead_y).sqrt() - 1
    ring = cover(bead * 0.035, grid.pixel) * person["earring"]
    tint(layer, ring, person["skin"].new_tensor([[0.75, 0.6, 0.25]]))
    layer.gloss += ring * 0.8
    return layer, torch.maximum(alpha, ring)


def face_alpha(head: Head, beard: Tensor, grid: Grid) -> tuple[Tensor, Tensor]:
    """(coverage of the face, level of its outline: 1 at the edge)."""
    fuller = head._replace(chin=head.chin + 0.045 * beard, taper=head.taper - 0.06 * beard)
    level = outline_level(fuller, grid.u, grid.v).clamp(min=1e-4)
    root = level.sqrt()
    drop = grid.v - MIDDLE
    reach = (grid.u * grid.u + drop * drop).sqrt()
    return cover(reach - reach / root, grid.pixel), level


def skin(person: dict[str, Tensor], shape: Shape, grid: Grid, level: Tensor, hairline: Tensor) -> Layer:
    """The bare face without its features: form, cheeks, chin, blush, shadow of the hair."""
    u, v, pixel = grid
    layer = Layer.plain(person["skin"], u, 0.10)
    rim = 0.62 / ((1 - level).clamp(min=0).sqrt() + 0.40)
    layer.slope_u += u * (rim / (person["face_width"] * person["face_width"]))
    layer.slope_v += (v - 0.02) * 0.8 * rim
    sign = u.sign()
    lift = half(0.5 * (shape.unit("AU12") + shape.unit("AU6")), sign)
    x, y = (u.abs() - 0.42) * (1 / 0.27), (v - 0.32 + 0.05 * lift) * (1 / 0.25)
    apple = (1 - x * x - y * y).clamp(min=0)
    height = apple * (person["cheek"] + 0.055 * lift)
    layer.slope_u += height * x * sign * (4 / 0.27)
    layer.slope_v += height * y * (4 / 0.25)
    flush = apple * apple * (0.22 * person["blush"])
    darken(layer, flush, (0.0, 1.0, 0.9))
    if bool((person["freckles"] > 0).any()):
        spots = (
            noise(u + 0.2 * v, 43, pixel)
            + noise(0.6 * v - 0.8 * u, 47, pixel)
            + noise(v - 0.1 * u, 41, pixel)
        )
        band = dome(u / 0.66, (v - 0.22) / 0.30) * person["freckles"]
        tint(
            layer,
            band * smooth((spots - 0.7) * 2.2) * 0.5,
            person["skin"] * person["skin"].new_tensor([0.6, 0.42, 0.35]),
        )
    layer.open *= 1 - 0.42 * (1 - smooth((v - hairline) * 5)) * person["hair_density"]
    return layer


BEARD_TRAITS = ("face_width", "beard", "moustache", "stubble", "whiskers", "brow", "skin")


def beard(person: dict[str, Tensor], lips: Mouth, grid: Grid, layer: Layer) -> None:
    """Beard, stubble and moustache; the lips are painted over them."""
    u, v, pixel = grid
    x = u.abs() / person["face_width"]
    line = 0.60 - 0.68 * x * x * x
    jaw = smooth((v - line) * 9 + 0.5)
    lip = lip_lines(lips, u[:, :1] * 0)[0]
    wide = lips.corner_x.amax(1, keepdim=True) * 1.12
    across = u / wide
    over = (v - lip + 0.028 - 0.07 * across * across) / 0.055
    lip_hair = smooth((1.1 - across * across - over * over) * 1.6)
    warp = 0.04 * noise(v, 9.7, pixel)
    grain = 1 + 0.22 * noise(u + 0.12 * v + warp, 47, pixel) + 0.26 * noise(u - 0.2 * v + warp, 89, pixel)
    dense = torch.maximum(jaw * person["beard"], lip_hair * person["moustache"])
    thin = torch.maximum(jaw, lip_hair) * person["stubble"]
    dense, thin = (dense * 0.94 * grain.clamp(0.75, 1.06)).clamp(0, 1), thin * 0.45
    tint(layer, thin, person["brow"] * 0.6 + person["skin"] * 0.25)
    tint(layer, dense, person["whiskers"] * 0.75)
    layer.gloss *= 1 - 0.8 * dense
    layer.slope_u += dense * (grain - 1) * 0.6


def hairline(person: dict[str, Tensor], u: Tensor, v: Tensor) -> Tensor:
    """Height above which hair lies in front of the face."""
    part, wide = person["hair_part"], person["face_width"]
    x = u - part
    x = x / (wide - part * x.sign())
    square = x * x
    return torch.minimum(
        person["hair_hairline"] + person["hair_drop"] * square * square, person["hair_side_end"]
    )


def hair_distance(person: dict[str, Tensor], grid: Grid) -> Tensor:
    """Signed distance to the outer edge of the hair, negative inside."""
    u, v, pixel = grid
    wide = person["face_width"] + person["hair_side"]
    tall = 0.80 + person["hair_top"]
    x, y = u / wide, (v - CROWN) / tall
    y = y * y
    root = (x * x + 0.75 * y + 0.25 * y * y).clamp(min=1e-4).sqrt()
    drop = v - CROWN
    reach = (u * u + drop * drop).sqrt()
    flare = (v - 0.35).clamp(min=0) * (0.30 * person["hair_cover"] + 0.06)
    below = torch.maximum(u.abs() - wide - flare, v - person["hair_length"] + 0.12 * x * x)
    distance = below + step(-drop) * (reach - reach / root - below)
    bun = (u * u + (v + 1.0).square()).sqrt() - 0.30
    curly = _curly(person)
    if len(curly):
        u, v, pixel = u[curly], v[curly], pixel[curly]
        lumps = (
            noise(u + 0.3 * v, 7.3, pixel) + noise(v - 0.25 * u, 7.9, pixel) + 0.7 * noise(u - v, 17.1, pixel)
        )
        distance[curly] -= 0.028 * person["hair_curl"][curly] * lumps
    return torch.minimum(distance, bun + 9 * (1 - person["hair_bun"]))


def _curly(person: dict[str, Tensor]) -> Tensor:
    return (person["hair_curl"][:, 0] > 0).nonzero()[:, 0]


def hair(person: dict[str, Tensor], grid: Grid) -> Layer:
    """Colour and form of hair or headscarf, wherever it is seen."""
    u, v, pixel = grid
    covered = person["hair_cover"]
    colour = person["hair"] + covered * (person["cover"] - person["hair"])
    layer = Layer.plain(colour, u)
    wide, tall = person["face_width"] + person["hair_side"], 0.80 + person["hair_top"]
    x, y = u / wide, ((v - CROWN) / tall).clamp(max=0.35)
    rim = 0.75 / ((1 - x * x - y * y).clamp(min=0).sqrt() + 0.40)
    layer.slope_u += x * rim
    layer.slope_v += y * rim
    fan = (u - person["hair_part"]) / (0.45 + 0.45 * (v + 1.2).clamp(0, 1.6))
    curl, curly = person["hair_curl"].clamp(max=1), _curly(person)
    bent = fan + curl * 0.06 * wave(v + 0.3 * u, 3.0, pixel)
    strands = 0.6 * noise(bent, 7.3, pixel) + 0.5 * noise(bent, 19.7, pixel) + 0.5 * noise(bent, 61.3, pixel)
    texture = strands * (1 - 0.7 * curl)
    if len(curly):
        cu, cv, cp = u[curly], v[curly], pixel[curly]
        lumps = noise(cu + 0.12 * noise(cv, 8.3, cp), 19.1, cp) + noise(
            cv + 0.12 * noise(cu, 7.1, cp), 17.3, cp
        )
        texture[curly] += 0.9 * curl[curly] * lumps
    texture = texture + covered * (0.8 * wave(fan - 0.25 * v, 2.1, pixel) - texture)
    layer.slope_u += 0.30 * texture
    layer.open *= 1 + 0.20 * texture
    band = (y + 0.62 + 0.10 * texture) / 0.30
    sheen = (1 - band * band).clamp(min=0) * (1 - covered) * (1 - 0.5 * curl)
    layer.rgb *= 1 + 0.9 * sheen[:, None]
    layer.gloss += 0.03 + 0.09 * sheen
    return layer


def hair_front(person: dict[str, Tensor], face: Grid, outer: Tensor, line: Tensor) -> Tensor:
    """Coverage of the hair in front of the face; ``line`` is the hairline's height."""
    u, v, pixel = face
    ragged = 0.026 * noise(u + 0.2 * v, 17.3, pixel)
    edge = (v - line) * 0.85 + ragged
    x, y = u / (0.955 * person["face_width"]), (v - 0.17) / 0.83
    x = x * (1 + 0.12 * y.clamp(min=0))
    opening = 0.7 * (1 - (x * x + y * y).clamp(min=1e-4).sqrt())
    edge += person["hair_cover"] * (opening - edge)
    return cover(torch.maximum(outer, edge), pixel, 0.02) * person["hair_density"].clamp(max=1)


def occluder(colour: Tensor, view: dict[str, Tensor], grid: Grid) -> tuple[Layer, Tensor]:
    """A hand laid on the face, or the edge of a cloth."""
    angle = view["occluder_angle"]
    x, y = grid.u - view["occluder_x"], grid.v - view["occluder_y"]
    across, along = x + angle * y, y - angle * x
    layer = Layer.plain(colour, across, 0.06)
    alpha = torch.zeros_like(across)
    for finger, tip in enumerate((0.05, -0.05, -0.03, 0.06)):
        side = across - (finger - 1.5) * 0.135
        up = (tip - along).clamp(min=0)
        reach = (side * side + up * up).sqrt()
        part = cover(reach - 0.066, grid.pixel)
        blend(layer.slope_u, part, side * 11)
        blend(layer.slope_v, part, -up * 11)
        blend(layer.open, part, 1 - 0.35 * smooth((reach - 0.045) * 40))
        alpha = torch.maximum(alpha, part)
    cloth = view["occluder_cloth"]
    wrap = cover(-along, grid.pixel)
    fold = wave(across + 0.3 * along, 2.7, grid.pixel)
    tint(layer, cloth + 0 * along, view["cloth_near"])
    blend(layer.slope_u, cloth, 0.3 * fold + 0.4 * grid.u)
    blend(layer.slope_v, cloth, -0.2)
    blend(layer.open, cloth, 1.0)
    return layer, (alpha + cloth * (wrap - alpha)) * view["occlusion"]
