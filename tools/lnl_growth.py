"""Train on faces whose expression lives in one place, and keep how the weights grew: ``python tools/lnl_growth.py``.

Writes ``book/results/lnl/growth.json``: for every place and seed the mean weight of each region before
training and after each epoch. ``book/lnl.ipynb`` reads it.
"""

import json
import os
from datetime import UTC, datetime
from itertools import product

import torch

from fer_lib.growth import PLACES, digest, grow
from fer_lib.parameters import Parameters
from fer_lib.recipe import mixed_precision
from fer_lib.machine import commit, describe
from fer_lib.record import RESULTS

SEEDS = (0, 1, 2)
OVERRIDES = "size=48 train_images=2000 test_images=200 epochs=15"


def write(runs: list[dict], device: str) -> None:
    """All runs so far, whole or not at all."""
    about = {"row": "N4", "overrides": OVERRIDES, "device": device, "commit": commit()}
    about |= {"sources": digest(), "finished": datetime.now(UTC).isoformat(timespec="seconds")}
    path = RESULTS / "lnl" / "growth.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_text(json.dumps(about | {"runs": runs}) + "\n")
    os.replace(part, path)


if __name__ == "__main__":
    recipe, switches = Parameters(method="lnl", row="N4", overrides=OVERRIDES).resolve()
    cpu, runs = torch.device("cpu"), []
    for place, seed in product(PLACES, SEEDS):
        grown = grow(place, recipe, switches, seed, "cpu", log=lambda line: print(line, flush=True))
        weight = [[round(w, 4) for w in epoch] for epoch in grown.weight.tolist()]
        cells, accuracy = grown.cells.int().tolist(), round(grown.accuracy, 4)
        run = {"place": place, "seed": seed, "accuracy": accuracy, "cells": cells, "weight": weight}
        if grown.apart is not None:
            run["apart"] = [[round(w, 4) for w in half] for half in grown.apart.tolist()]
        runs.append(run)
        print(place, seed, "share on the changed cells", [round(s, 3) for s in grown.share(grown.cells)], flush=True)
        write(runs, describe(cpu, mixed_precision(recipe, cpu)))
