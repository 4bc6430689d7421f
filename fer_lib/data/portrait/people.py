"""Persons: what of a face stays when the expression changes."""

import torch
from torch import Tensor

from fer_lib.data.portrait.draws import Draws
from fer_lib.data.portrait.views import hue_colour

# sRGB 0-255, light to dark; between two rows the colour is interpolated.
SKIN = (
    (250, 219, 197), (246, 206, 178), (238, 191, 157), (226, 172, 133), (206, 148, 107),
    (180, 122, 83), (148, 96, 64), (116, 73, 49), (86, 54, 38), (60, 39, 30),
)  # fmt: skip
HAIR = (
    (20, 16, 15), (40, 26, 20), (74, 46, 30), (112, 70, 40), (150, 96, 54), (196, 148, 92), (214, 178, 126),
    (140, 58, 30), (176, 84, 44),
)  # fmt: skip
IRIS = (
    (48, 28, 18),
    (84, 52, 30),
    (112, 76, 42),
    (104, 112, 62),
    (82, 128, 100),
    (92, 136, 172),
    (130, 150, 160),
)

# One row a hair style: top and side (thickness), length (lowest point), hairline, drop (how fast
# the hairline falls towards the temples), side_end (where the hair in front of the ears ends),
# curl, density, bun, cover (a headscarf), and how often men and women wear it.
_STYLE = ("top", "side", "length", "hairline", "drop", "side_end", "curl", "density", "bun", "cover")
HAIR_STYLES = {
    "short": ((0.12, 0.05, 0.05, -0.60, 0.55, -0.05, 0.00, 1.0, 0, 0), 0.30, 0.07),
    "quiff": ((0.22, 0.04, 0.00, -0.66, 0.75, -0.08, 0.00, 1.0, 0, 0), 0.18, 0.05),
    "cropped": ((0.03, 0.01, 0.02, -0.60, 0.60, -0.10, 0.00, 0.8, 0, 0), 0.16, 0.04),
    "bald": ((0.00, 0.00, 0.05, -1.30, 0.50, -0.30, 0.00, 0.0, 0, 0), 0.10, 0.01),
    "curly": ((0.26, 0.16, 0.18, -0.56, 0.60, 0.00, 1.00, 1.0, 0, 0), 0.10, 0.08),
    "afro": ((0.34, 0.34, 0.30, -0.58, 0.70, -0.02, 1.30, 1.0, 0, 0), 0.05, 0.07),
    "parted": ((0.13, 0.14, 1.30, -0.62, 1.70, 1.10, 0.00, 1.0, 0, 0), 0.04, 0.24),
    "waves": ((0.17, 0.24, 1.15, -0.58, 1.60, 0.95, 0.55, 1.0, 0, 0), 0.02, 0.14),
    "bob": ((0.15, 0.18, 0.78, -0.36, 0.80, 0.66, 0.00, 1.0, 0, 0), 0.02, 0.12),
    "bun": ((0.07, 0.03, 0.05, -0.64, 0.60, -0.10, 0.00, 1.0, 1, 0), 0.03, 0.13),
    "scarf": ((0.14, 0.15, 1.60, -0.60, 0.60, 1.50, 0.00, 1.0, 0, 1), 0.00, 0.07),
}

People = dict[str, Tensor]


def sample_people(
    subjects: Tensor | list[int], seed: int = 0, rest: float = 0.15, device: str = "cpu"
) -> People:
    """The persons with these numbers: bones, skin, hair, eyes, and how their face rests.

    Args:
        subjects: int64 (N,), any numbers; equal number and seed, same person.
        seed: any integer.
        rest: standard deviation of the resting face (0: every face rests neutral).
        device: where the tensors lie.

    Returns:
        name -> float32 (N,), or (N, 3) for a colour in linear light. Lengths are in face
        units: half the height of a head is 1. Change a trait with ``people | {"glasses": ...}``.

    Explained in: book/faces.ipynb
    """
    index = torch.as_tensor(subjects, dtype=torch.int64).to(device)
    draws = Draws(seed, "person", index)
    person: People = {"male": draws.chance("male", 0.5).float(), "age": _aged(draws.uniform("age"))}
    _sample_bones(person, draws)
    _sample_colours(person, draws)
    _sample_features(person, draws)
    _sample_hair(person, draws)
    _sample_extras(person, draws)
    for part in ("rest_brow", "rest_frown", "rest_mouth", "rest_lid", "rest_jaw"):
        person[part] = draws.bell(part, 0, rest)
    return person


def _aged(x: Tensor) -> Tensor:
    return x * (0.35 + 0.65 * x)


def _sample_bones(person: People, draws: Draws) -> None:
    male = person["male"]
    person["face_width"] = draws.bell("face width", 0.715, 0.042)
    person["chin"] = draws.bell("chin", 0.97, 0.055) + male * 0.04
    person["jaw_square"] = draws.bell("jaw square", 0.38, 0.14) + male * 0.16
    person["jaw_taper"] = draws.bell("jaw taper", 0.27, 0.09) - male * 0.05
    person["cheek"] = draws.bell("cheek", 0.08, 0.02)
    person["brow_ridge"] = draws.bell("brow ridge", 0.03, 0.012) + male * 0.03
    person["neck_width"] = draws.bell("neck width", 0.36, 0.02) + male * 0.06


def _sample_colours(person: People, draws: Draws) -> None:
    tone = draws.uniform("tone")
    tone = tone * (0.75 + 0.25 * tone)
    undertone = draws.bell("undertone", 0, 0.05)
    person["tone"] = tone
    skin = _ramp(SKIN, tone) * (1 - 0.06 * draws.uniform("skin level")[:, None])
    person["skin"] = skin * torch.stack([1 + 0.4 * undertone, 1 - 0.3 * undertone, 1 + 1.2 * undertone], -1)
    fair = (1 - tone) * (1 - tone)
    shade = draws.uniform("hair shade")
    red = draws.chance("red hair", 0.1 * fair).float()[:, None]
    hair = _ramp(HAIR[:7], shade * (0.15 + 0.85 * fair)) * (1 - red) + _ramp(HAIR[7:], shade) * red
    natural = hair
    grey = ((person["age"] - draws.uniform("grey", 0.4, 1.1)) * 4).clamp(0, 1)[:, None]
    dyed = draws.chance("dyed", 0.04).float()[:, None]
    hair = (
        hair * (1 - dyed)
        + hue_colour(draws.uniform("dye"), draws.uniform("dye pale", 0.1, 0.4)) * 0.35 * dyed
    )
    silver = 0.42 * grey * draws.uniform("grey level", 0.7, 1.3)[:, None]
    person["hair"] = hair * (1 - grey) + silver
    person["whiskers"] = natural * (1 - grey) + silver
    person["brow"] = person["whiskers"] * 0.55 + 0.004
    person["iris"] = _ramp(IRIS, draws.uniform("iris") * (0.22 + 0.78 * fair))
    rosy = draws.uniform("rosy", 0.4, 1)
    made_up = (draws.chance("lipstick", 0.35).float() * (1 - person["male"]))[:, None]
    bare = person["skin"] * torch.stack([0.86 - 0.06 * rosy, 0.62 - 0.14 * rosy, 0.66 - 0.12 * rosy], -1)
    bare = bare + skin.new_tensor([0.055, 0.012, 0.018]) * tone[:, None]
    paint = torch.stack([draws.uniform("paint r", 0.25, 0.6), draws.uniform("paint g", 0.02, 0.1),
                         draws.uniform("paint b", 0.04, 0.14)], -1)  # fmt: skip
    person["lips"] = bare + (paint * (0.35 + 0.65 * fair[:, None]) - bare) * made_up * 0.7
    person["blush"] = draws.uniform("blush", 0.3, 1)
    person["freckles"] = draws.chance("freckled", 0.3 * fair).float() * draws.uniform("freckles", 0.3, 1)


def _sample_features(person: People, draws: Draws) -> None:
    male = person["male"]
    person["eye_x"] = draws.bell("eye x", 0.312, 0.012)
    person["eye_width"] = draws.bell("eye width", 0.167, 0.010)
    person["eye_up"] = draws.bell("eye up", 0.095, 0.011) - male * 0.006
    person["eye_low"] = draws.bell("eye low", 0.060, 0.006)
    person["eye_tilt"] = draws.bell("eye tilt", 0.020, 0.020)
    person["iris_size"] = draws.bell("iris size", 0.088, 0.004)
    person["lid_fold"] = draws.uniform("lid fold")
    person["lash"] = draws.uniform("lash", 0.35, 1) * (1 - 0.55 * male)
    person["brow_y"] = draws.bell("brow y", -0.212, 0.015) + male * 0.018
    person["brow_arch"] = draws.bell("brow arch", 0.045, 0.014) - male * 0.015
    person["brow_angle"] = draws.bell("brow angle", -0.005, 0.016)
    person["brow_thick"] = draws.bell("brow thick", 0.030, 0.006) + male * 0.010
    person["nose_width"] = draws.bell("nose width", 0.135, 0.016) + male * 0.010 + person["tone"] * 0.022
    person["nose_length"] = draws.bell("nose length", 0.395, 0.026)
    person["nose_height"] = draws.bell("nose height", 0.21, 0.025)
    person["mouth_y"] = draws.bell("mouth y", 0.620, 0.014)
    person["mouth_width"] = draws.bell("mouth width", 0.245, 0.020)
    full = draws.bell("lip fullness", 0, 0.008) + person["tone"] * 0.012 - male * 0.008
    person["lip_up"] = full + 0.050
    person["lip_low"] = full + draws.bell("lip low", 0.070, 0.006)


def _sample_hair(person: People, draws: Draws) -> None:
    values = torch.tensor([row[0] for row in HAIR_STYLES.values()], device=draws.index.device)  # (S, 10)
    men = draws.pick("style men", [row[1] for row in HAIR_STYLES.values()])
    women = draws.pick("style women", [row[2] for row in HAIR_STYLES.values()])
    style = values[torch.where(person["male"] > 0, men, women)]  # (N, 10)
    loose = 1 - style[:, _STYLE.index("cover")]
    for i, name in enumerate(_STYLE):
        jitter = draws.bell(f"hair {name}", 0, 0.12) if name in ("top", "side", "drop", "curl") else 0.0
        person[f"hair_{name}"] = style[:, i] * (1 + jitter)
    person["hair_hairline"] = person["hair_hairline"] + draws.bell("hairline", 0, 0.03) * loose
    person["hair_part"] = draws.bell("part", 0, 0.16) * loose
    cloth = hue_colour(draws.uniform("scarf hue"), draws.uniform("scarf pale", 0.2, 0.9))
    cloth = cloth * draws.uniform("scarf level", 0.08, 0.8)[:, None]
    person["cover"] = cloth


def _sample_extras(person: People, draws: Draws) -> None:
    male, bearded = person["male"], draws.uniform("bearded")
    person["beard"] = male * (bearded > 0.72).float() * draws.uniform("beard", 0.75, 1)
    person["stubble"] = male * draws.uniform("stubble", 0, 0.4)
    person["moustache"] = torch.maximum(person["beard"], male * (bearded < 0.08).float())
    person["glasses"] = draws.chance("glasses", 0.17).float()
    person["glasses_width"] = draws.uniform("glasses width", 0.215, 0.25)
    person["glasses_height"] = draws.uniform("glasses height", 0.15, 0.21)
    person["glasses_round"] = draws.uniform("glasses round")
    person["glasses_rim"] = draws.uniform("glasses rim", 0.010, 0.024)
    person["frame"] = hue_colour(draws.uniform("frame hue"), draws.uniform("frame pale", 0.4, 1)) * (
        draws.uniform("frame level", 0.0, 0.25)[:, None] * draws.uniform("frame level 2")[:, None] + 0.01
    )
    cloth = hue_colour(draws.uniform("cloth hue"), draws.uniform("cloth pale", 0.1, 0.9))
    person["cloth"] = cloth * draws.uniform("cloth level", 0.05, 0.8)[:, None]
    person["collar"] = draws.uniform("collar", 0.02, 0.22)
    person["earring"] = (1 - male) * draws.chance("earring", 0.35).float()


def _ramp(colours: tuple[tuple[int, int, int], ...], position: Tensor) -> Tensor:
    """The colour at ``position`` (0-1) of a row of sRGB colours, in linear light; (N, 3)."""
    table = torch.tensor(colours, device=position.device) / 255.0
    table = table * (table * (table * 0.305306011 + 0.682171111) + 0.012522878)
    place = position.clamp(0, 1) * (len(colours) - 1)
    low = place.long().clamp(max=len(colours) - 2)
    return table[low] + (table[low + 1] - table[low]) * (place - low)[:, None]
