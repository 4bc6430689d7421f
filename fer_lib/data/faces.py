"""Procedural faces: persons who do not exist, with expressions built from action units.

The renderer is in :mod:`fer_lib.data.portrait`; this is its door. A whole data set comes from
:func:`make_faces`, single pictures from :func:`draw_faces`.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch
from joblib import Parallel, delayed, parallel_config
from torch import Tensor

from fer_lib.data.faceset import SPLITS, FaceSet
from fer_lib.data.portrait.draws import Draws
from fer_lib.data.portrait.expression import (
    ACTION_UNITS,
    AU_NAMES,
    PROTOTYPES,
    action_units,
    prototype_units,
    sample_units,
)
from fer_lib.data.portrait.people import People, sample_people
from fer_lib.data.portrait.render import DrawnFaces, arrange, paint
from fer_lib.data.portrait.views import Spread, plain_view, sample_views
from fer_lib.emotions import Emotion
from fer_lib.errors import FerError

__all__ = [
    "ACTION_UNITS",
    "AU_NAMES",
    "DEFAULT_DIFFICULTY",
    "PROTOTYPES",
    "VERSION",
    "DrawnFaces",
    "People",
    "Spread",
    "action_units",
    "draw_faces",
    "make_faces",
    "plain_view",
    "prototype_units",
    "sample_people",
    "sample_units",
    "sample_views",
]

Columns = dict[str, np.ndarray]
VERSION = 1  # raise it with every change of the generator that changes a picture
DEFAULT_DIFFICULTY = 0.3
SIZES = (32, 512)
BLOCK = 250  # faces that one process draws in a row
WORTH_PROCESSES = 2000 * 96 * 96  # pixels from which on the start of processes, some seconds, pays


def make_faces(
    count: int,
    split: str = "train",
    seed: int = 0,
    size: int = 64,
    difficulty: float | str = "default",
    emotions: Sequence[Emotion | int] = tuple(Emotion),
    neutral: bool = False,
    device: str = "cpu",
    per_person: int = 4,
    chunk: int | None = None,
) -> FaceSet:
    """The first ``count`` faces of an endless, reproducible data set.

    Face i depends on ``seed``, ``split``, ``difficulty``, ``emotions`` and ``per_person``, and on
    nothing else: not on ``count`` and not on ``chunk``. Each block of ``len(emotions)`` faces
    holds every emotion once, in an order of its own. The splits share no person. A large set is
    drawn by as many processes as torch may use threads.

    Args:
        count: how many faces.
        split: ``train``, ``val`` or ``test``.
        seed: any integer.
        size: height and width in pixels, 32-512.
        difficulty: 0 (frontal, full expression) to 1; ``default`` is ``DEFAULT_DIFFICULTY``.
        emotions: which classes occur; the labels stay the values of ``Emotion``.
        neutral: also draw each face's neutral twin: same person, pose, light and background,
            all action units 0.
        device: where the pictures are computed; the result lies on the CPU.
        per_person: faces in a row that show the same person.
        chunk: faces computed at once; ``None`` chooses what fits the processor's cache.

    Returns:
        A :class:`fer_lib.data.faceset.FaceSet` named ``faces`` with 3-channel images,
        ``subjects``, ``landmarks`` (68, iBUG 300-W order), ``masks``, ``action_units``
        (columns as ``ACTION_UNITS``) and, if asked for,
        ``neutral`` and ``neutral_landmarks``.

    Raises:
        FerError: if an argument is out of its range.

    Explained in: book/faces.ipynb
    """
    level = _difficulty(difficulty)
    classes = _emotions(emotions)
    _check(count, split, size, per_person, chunk)
    arguments = dict(version=VERSION, count=count, split=split, seed=seed, size=size, difficulty=level,
                     emotions=classes, neutral=neutral, per_person=per_person)  # fmt: skip
    block = partial(_block, split, seed, size, level, classes, neutral, device, per_person, chunk)
    columns = {name: torch.from_numpy(rows) for name, rows in _gather(block, count, size, device).items()}
    return FaceSet(name="faces", split=split, fingerprint=_digest(arguments), **columns)


def draw_faces(
    people: People, units: Tensor, view: dict[str, Tensor] | None = None, size: int = 96
) -> DrawnFaces:
    """Draw chosen persons with chosen action units, pose, light and background.

    ``people``, ``units`` and ``view`` must have the same number of rows, or one row, which then
    serves all. For instance one person whose AU12 grows::

        smile = torch.cat([action_units(AU12=x) for x in (0, 0.25, 0.5, 0.75, 1)])
        draw_faces(sample_people([17]), smile, plain_view(1), size=160).image

    Args:
        people: from :func:`sample_people`.
        units: float32 (N, A), intensities 0-1 in the order of ``ACTION_UNITS``; or (N, A, 2),
            the left and the right half of the picture each on its own.
        view: from :func:`plain_view` (the default) or :func:`sample_views`.
        size: height and width in pixels, 32-512.

    Returns:
        :class:`DrawnFaces` on the device of ``units``.

    Raises:
        FerError: if the numbers of rows or of action units do not fit, or the size is out of range.

    Explained in: book/faces.ipynb
    """
    _check_size(size)
    if units.ndim not in (2, 3) or units.shape[1] != len(ACTION_UNITS) or units.shape[2:] not in ((), (2,)):
        raise FerError(
            f"draw_faces: units must have the shape (N, {len(ACTION_UNITS)}) or (N, {len(ACTION_UNITS)}, 2), "
            f"not {tuple(units.shape)}; build them with action_units or prototype_units."
        )
    units = units[..., None].expand(-1, -1, 2) if units.ndim == 2 else units
    view = plain_view(1, units.device) if view is None else view
    rows = {"people": len(people["age"]), "units": len(units), "view": len(view["yaw"])}
    count = max(rows.values())
    if any(number not in (1, count) for number in rows.values()):
        counted = ", ".join(f"{number} {name}" for name, number in rows.items())
        raise FerError(f"draw_faces: {counted} do not fit together; give the same number of each, or one.")
    people, view = ({name: _repeat(x, count) for name, x in group.items()} for group in (people, view))
    scene = arrange(people, _repeat(units, count), view, size)
    return DrawnFaces(*_in_chunks(partial(paint, scene), count, _chunk(size, units.device)))


def _repeat(rows: Tensor, count: int) -> Tensor:
    return rows.expand(count, *rows.shape[1:])


def _chunk(size: int, device: torch.device) -> int:
    """As many faces as fit a processor's cache, or fill an accelerator."""
    if device.type != "cpu":
        return max(1, 512 * 96 * 96 // (size * size))
    return max(1, 16 * 96 * 96 // (size * size))


def _in_chunks(draw: Callable[[slice], Sequence[Tensor]], count: int, chunk: int) -> list[Tensor]:
    """Draw ``chunk`` rows at a time, on one thread: the operations are too small to be split."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.no_grad():
            parts = [draw(slice(start, start + chunk)) for start in range(0, max(count, 1), chunk)]
    finally:
        torch.set_num_threads(threads)
    return [torch.cat(part) for part in zip(*parts, strict=True)]


def _gather(block: Callable[[int, int], Columns], count: int, size: int, device: str) -> Columns:
    """All blocks, one below the other; drawn by several processes where that pays."""
    ends = [(start, min(start + BLOCK, count)) for start in range(0, max(count, 1), BLOCK)]
    processes = torch.get_num_threads()
    if torch.device(device).type == "cpu" and processes > 1 and count * size * size >= WORTH_PROCESSES:
        with parallel_config("loky", n_jobs=processes, inner_max_num_threads=1):
            parts = Parallel()(delayed(block)(*part) for part in ends)
    else:
        parts = [block(*part) for part in ends]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _block(
    split: str, seed: int, size: int, level: float, classes: list[int], neutral: bool, device: str,
    per_person: int, chunk: int | None, start: int, end: int,
) -> Columns:  # fmt: skip
    """The faces from ``start`` to before ``end``, as arrays: they may come from another process."""
    index = torch.arange(start, end, device=device)
    labels = _labels(index, seed, split, classes)
    subjects = (index // per_person) * len(SPLITS) + SPLITS.index(split)
    spread, draws = Spread.at(level), Draws(seed, f"face/{split}", index)
    people = sample_people(subjects, seed, spread.rest, device)
    units, view = sample_units(labels, draws, spread), sample_views(draws, spread)
    scenes = [arrange(people, shown, view, size) for shown in ((units, units * 0) if neutral else (units,))]

    def draw(rows: slice) -> tuple[Tensor, ...]:
        drawn = [paint(scene, rows) for scene in scenes]
        pictures = [((part.image * 255).round().to(torch.uint8).cpu(), part.landmarks.cpu()) for part in drawn]
        return (drawn[0].mask >= 0.5).to(torch.uint8).mul(255).cpu(), *sum(pictures, ())

    masks, images, points, *twins = _in_chunks(draw, len(index), chunk or _chunk(size, index.device))
    columns = {"images": images, "labels": labels, "subjects": subjects, "landmarks": points, "masks": masks}
    columns |= {"action_units": units.amax(-1)} | dict(zip(("neutral", "neutral_landmarks"), twins, strict=False))
    return {name: column.cpu().numpy() for name, column in columns.items()}


def _labels(index: Tensor, seed: int, split: str, classes: list[int]) -> Tensor:
    """Shuffled round robin: in each block the classes in the order of their hashes."""
    width = len(classes)
    block, place = index // width, index % width
    keys = torch.stack([Draws(seed, f"label/{split}/{i}", block).bits("key") for i in range(width)], -1)
    order = keys.argsort(-1)  # (N, width)
    return torch.tensor(classes, device=index.device)[order.gather(1, place[:, None])[:, 0]]


def _digest(arguments: dict) -> str:
    return hashlib.sha256(json.dumps(arguments, sort_keys=True).encode()).hexdigest()[:16]


def _difficulty(difficulty: float | str) -> float:
    if difficulty == "default":
        return DEFAULT_DIFFICULTY
    if isinstance(difficulty, str) or not 0 <= difficulty <= 1:
        raise FerError(
            f"make_faces: the difficulty must be 'default' or lie between 0 and 1, not {difficulty!r}."
        )
    return float(difficulty)


def _emotions(emotions: Sequence[Emotion | int]) -> list[int]:
    known = {int(emotion) for emotion in Emotion}
    strange = [emotion for emotion in emotions if emotion not in known]
    if strange or not emotions:
        wrong = f"unknown emotion {strange[0]!r}" if strange else "no emotion"
        raise FerError(
            f"make_faces: {wrong}; take members of Emotion ({', '.join(e.title for e in Emotion)})."
        )
    return [int(emotion) for emotion in emotions]


def _check(count: int, split: str, size: int, per_person: int, chunk: int | None) -> None:
    if split not in SPLITS:
        raise FerError(f"make_faces: there is no split {split!r}; take one of {', '.join(SPLITS)}.")
    if count < 0:
        raise FerError(f"make_faces: count must be 0 or more, not {count}.")
    if per_person < 1 or (chunk is not None and chunk < 1):
        raise FerError(f"make_faces: per_person and chunk must be 1 or more, not {per_person} and {chunk}.")
    _check_size(size)


def _check_size(size: int) -> None:
    if not SIZES[0] <= size <= SIZES[1]:
        raise FerError(
            f"The size of a procedural face must lie between {SIZES[0]} and {SIZES[1]} pixels, not {size}."
        )
