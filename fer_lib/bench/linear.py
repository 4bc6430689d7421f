"""Does the cost grow as the work does? Seconds at 1, 4 and 16 times the images, the pixels, the rows."""

import json
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fer_lib.bench.against import Setting, pictures
from fer_lib.bench.own import OwnRecipe
from fer_lib.bench.parts import DRAWN, prepare, write_ferplus
from fer_lib.bench.timing import in_turns, stopwatch
from fer_lib.data.faces import make_faces
from fer_lib.data.ferplus import SIZE
from fer_lib.data.loader import Augmentation
from fer_lib.ledger import ledger
from fer_lib.methods.baseline import Baseline
from fer_lib.parameters import Parameters
from fer_lib.record import find_records

FACTORS = (1, 4, 16)
WIDTHS = {1: 32, 4: 64, 16: 128}  # pixels a side, for each factor


def growth(device: torch.device, images: int, records: int, repeats: int) -> list[dict[str, Any]]:
    """For everything whose cost has to grow linearly: seconds by factor, and with which power they grow.

    Args:
        images: at factor 1, of 32 pixels; records: the rows of a ledger at factor 1.

    Returns:
        For each ``what`` and ``by`` (``images``, ``pixels`` or ``rows``) ``seconds`` (by factor, the least of the repeats),
        ``power`` (see :func:`power`) and ``each``: the cost of one unit at the greatest factor, as a share of that at the least.

    Explained in: book/speed.md
    """
    lines = []
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        for (what, by), works in _works(device, images, records, folder).items():
            times = in_turns({str(factor): works[factor] for factor in FACTORS}, repeats)
            seconds = {factor: min(times[str(factor)]) for factor in FACTORS}
            each = seconds[FACTORS[-1]] / seconds[1] / FACTORS[-1]
            lines.append({"what": what, "by": by, "seconds": seconds, "power": power(seconds), "each": each})
    return lines


def power(seconds: dict[int, float]) -> float:
    """The slope p of a straight line through log seconds over log factor: cost grows as factor to the p; 1 is linear.

    A fixed cost makes it less than 1.

    Explained in: book/speed.md
    """
    return float(np.polyfit(np.log(list(seconds)), np.log(list(seconds.values())), 1)[0])


def write_records(folder: Path, count: int) -> Path:
    """So many records of runs that never were, of the form of real ones, for reading alone.

    Explained in: book/speed.md
    """
    parameters = Parameters()
    figures = {"accuracy": 0.5, "macro_recall": 0.5}
    text = {
        **parameters.model_dump(include={"method", "row", "dataset", "profile", "fold"}),
        **{"split": "test", "alignment": "as drawn", "parameters": parameters.meant(), "fingerprint": {}},
        **{"metrics": figures, "intervals": {name: (0.0, 1.0) for name in figures}, "confusion": [[1000] * 8] * 8},
        "chosen": {"epoch": 1, "metrics": figures, "intervals": {}},
        **{"labels": "01234567" * 125, "predicted": "76543210" * 125, "cost": {"seconds": 1.0}, "device": "none"},
        **{"history": [{"epoch": k, "stage": "train", "lr": 0.001, "seconds": 1.0} for k in range(8)]},
        **{"versions": {}, "sources": "", "commit": "", "finished": ""},
    }
    folder.mkdir(parents=True)
    for seed in range(count):
        (folder / f"R0-seed{seed}.json").write_text(json.dumps(text | {"seed": seed}))
    return folder


def _works(device, images: int, records: int, folder: Path) -> dict[tuple[str, str], dict[int, Callable[[], float]]]:
    """For each thing and what it grows by: a measurement for each factor."""
    def train(size: int, count: int) -> Callable[[], float]:
        setting = Setting(size, 16, count // 16, str(device), 0, "resnet10_narrow", 2)
        method: Baseline = setting.network().to(device, memory_format=torch.channels_last)
        return OwnRecipe(pictures(size, count), method, device, setting.recipe, Augmentation()).train

    def timed(work: Callable[[], object]) -> Callable[[], float]:
        return lambda: stopwatch(work, device)

    faces = make_faces(min(images, DRAWN), size=SIZE)
    data = {k: write_ferplus(faces, k * images, folder / f"data{k}") for k in FACTORS}
    kept = {k: write_records(folder / f"records{k}", k * records) for k in FACTORS}
    side = WIDTHS[1]
    return {
        ("training", "images"): {k: train(side, k * images) for k in FACTORS},
        ("training", "pixels"): {k: train(WIDTHS[k], images) for k in FACTORS},
        ("drawing faces", "images"): {k: timed(lambda k=k: make_faces(k * images, size=side)) for k in FACTORS},
        ("drawing faces", "pixels"): {k: timed(lambda k=k: make_faces(images, size=WIDTHS[k])) for k in FACTORS},
        ("preparing a dataset", "images"): {k: lambda k=k: prepare(data[k])[0] for k in FACTORS},
        ("reading records", "rows"): {k: timed(lambda k=k: ledger(find_records(kept[k]).values())) for k in FACTORS},
    }
