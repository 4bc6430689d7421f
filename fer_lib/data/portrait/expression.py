"""Emotions as action units: the published combinations, and how a face departs from them."""

import torch
from torch import Tensor

from fer_lib.data.portrait.draws import Draws
from fer_lib.data.portrait.views import Spread
from fer_lib.emotions import Emotion
from fer_lib.errors import FerError

# Titles as in Ekman, Friesen & Hager (2002), Facial Action Coding System.
AU_NAMES: dict[str, str] = {
    "AU1": "inner brow raiser",
    "AU2": "outer brow raiser",
    "AU4": "brow lowerer",
    "AU5": "upper lid raiser",
    "AU6": "cheek raiser",
    "AU7": "lid tightener",
    "AU9": "nose wrinkler",
    "AU10": "upper lip raiser",
    "AU12": "lip corner puller",
    "AU14": "dimpler",
    "AU15": "lip corner depressor",
    "AU16": "lower lip depressor",
    "AU17": "chin raiser",
    "AU20": "lip stretcher",
    "AU23": "lip tightener",
    "AU24": "lip pressor",
    "AU25": "lips part",
    "AU26": "jaw drop",
    "AU27": "mouth stretch",
    "AU43": "eye closure",
}
ACTION_UNITS: tuple[str, ...] = tuple(AU_NAMES)

# Which units: EMFACS-7 (Friesen & Ekman, 1983), with the frequent companions that Du, Tao &
# Martinez (2014, Table 1) and Cordaro et al. (2018) measured. How strong: a choice of ours.
PROTOTYPES: dict[Emotion, dict[str, float]] = {
    Emotion.NEUTRAL: {},
    Emotion.HAPPINESS: {"AU6": 0.9, "AU12": 1.0, "AU25": 0.8},
    Emotion.SURPRISE: {"AU1": 0.9, "AU2": 1.0, "AU5": 0.7, "AU25": 0.7, "AU26": 1.0},
    Emotion.SADNESS: {"AU1": 1.0, "AU4": 0.6, "AU15": 1.0, "AU17": 0.6},
    Emotion.ANGER: {"AU4": 1.0, "AU5": 0.5, "AU7": 0.7, "AU17": 0.3, "AU23": 0.9, "AU24": 0.6},
    Emotion.DISGUST: {"AU4": 0.4, "AU7": 0.4, "AU9": 1.0, "AU10": 0.9, "AU16": 0.3, "AU25": 0.4},
    Emotion.FEAR: {
        "AU1": 1.0,
        "AU2": 0.6,
        "AU4": 0.7,
        "AU5": 1.0,
        "AU7": 0.2,
        "AU20": 1.0,
        "AU25": 0.7,
        "AU26": 0.4,
    },
    Emotion.CONTEMPT: {"AU12": 0.6, "AU14": 1.0},
}
UNILATERAL = (Emotion.CONTEMPT,)

# Whose action units slip in when an expression is impure.
NEIGHBOURS: dict[Emotion, tuple[Emotion, Emotion]] = {
    Emotion.NEUTRAL: (Emotion.SADNESS, Emotion.CONTEMPT),
    Emotion.HAPPINESS: (Emotion.CONTEMPT, Emotion.SURPRISE),
    Emotion.SURPRISE: (Emotion.FEAR, Emotion.HAPPINESS),
    Emotion.SADNESS: (Emotion.NEUTRAL, Emotion.FEAR),
    Emotion.ANGER: (Emotion.DISGUST, Emotion.SADNESS),
    Emotion.DISGUST: (Emotion.ANGER, Emotion.SADNESS),
    Emotion.FEAR: (Emotion.SURPRISE, Emotion.SADNESS),
    Emotion.CONTEMPT: (Emotion.HAPPINESS, Emotion.NEUTRAL),
}


def action_units(**intensity: float) -> Tensor:
    """One row of intensities, float32 (1, A): ``action_units(AU12=0.8, AU6=0.5)``; the others are 0.

    Raises:
        FerError: if there is no such action unit.

    Explained in: book/faces.ipynb
    """
    for name in intensity:
        if name not in AU_NAMES:
            raise FerError(
                f"action_units: there is no action unit {name}; take one of {', '.join(ACTION_UNITS)}."
            )
    return torch.tensor([[float(intensity.get(name, 0.0)) for name in ACTION_UNITS]])


def prototype_units(emotions: Tensor, intensity: float = 1.0, left: bool = True) -> Tensor:
    """The published expression of each emotion.

    Args:
        emotions: int64 (N,), values of :class:`fer_lib.emotions.Emotion`.
        intensity: factor on every unit, 0-1.
        left: which half of the picture a one-sided expression (contempt) is on.

    Returns:
        float32 (N, A, 2): per action unit the left and the right half of the picture.

    Explained in: book/faces.ipynb
    """
    table = torch.cat([action_units(**PROTOTYPES[emotion]) for emotion in Emotion])  # (8, A)
    units = table.to(emotions.device)[emotions] * intensity
    return units[..., None] * _sides(emotions, torch.full_like(emotions, left, dtype=torch.bool))


def sample_units(emotions: Tensor, draws: Draws, spread: Spread) -> Tensor:
    """Expressions as people make them: weak, impure, incomplete and uneven.

    Args:
        emotions: int64 (N,).
        draws: the random numbers of the N faces.
        spread: how far from the prototype.

    Returns:
        float32 (N, A, 2), intensities 0-1 of the left and the right half of the picture.

    Explained in: book/faces.ipynb
    """
    strength = 1 - spread.weakness * draws.uniform("strength")  # (N,)
    neighbours = torch.tensor([NEIGHBOURS[emotion] for emotion in Emotion], device=emotions.device)
    other = neighbours[emotions, draws.pick("neighbour", [0.7, 0.3])]
    blend = draws.uniform("blend")
    blend = blend * blend * spread.blend
    side = draws.chance("side", 0.5)
    table = prototype_units(torch.arange(len(Emotion), device=emotions.device)).amax(-1)  # (8, A)
    own = table[emotions][..., None] * _sides(emotions, side)  # (N, A, 2)
    guest = table[other][..., None] * _sides(other, side)
    mixed = own + (guest - own) * blend[:, None, None]
    columns = [
        _vary(mixed[:, i] * strength[:, None], name, draws, spread) for i, name in enumerate(ACTION_UNITS)
    ]
    return torch.stack(columns, 1).clamp(0, 1)


def _vary(unit: Tensor, name: str, draws: Draws, spread: Spread) -> Tensor:
    gain = 1 + spread.unit_gain * draws.bell(f"{name} gain")
    kept = (draws.uniform(f"{name} kept") >= spread.dropout).float()
    stray = draws.uniform(f"{name} stray")
    stray = spread.stray * stray * stray * stray
    if name == "AU43":
        blink = draws.uniform("blink")
        stray = spread.blink * blink * blink * blink
    lean = spread.asymmetry * draws.bell(f"{name} lean")  # (N,)
    tilt = torch.stack([1 - lean, 1 + lean], -1).clamp(0, 1)  # (N, 2)
    return unit * (gain * kept)[:, None] * tilt + stray[:, None]


def _sides(emotions: Tensor, left: Tensor) -> Tensor:
    one_sided = torch.zeros_like(left)
    for emotion in UNILATERAL:
        one_sided = one_sided | (emotions == emotion)
    keep_left, keep_right = ~one_sided | left, ~one_sided | ~left
    return torch.stack([keep_left, keep_right], -1).float()[:, None, :]  # (N, 1, 2)
