"""Train on faces whose expression lives in one place, and keep how the weights grew: ``python tools/lnl_growth.py``.

Writes ``book/results/lnl/growth.json``: for every place and seed the mean weight of each region before
training and after each epoch. ``book/lnl.ipynb`` reads it.
"""

import json
import os
from datetime import UTC, datetime

import torch

from fer_lib.growth import PLACES, grow
from fer_lib.parameters import Parameters
from fer_lib.record import RESULTS, commit, describe, sources

SEEDS = (0, 1, 2)
OVERRIDES = "train_images=1500 test_images=400 epochs=8"

if __name__ == "__main__":
    recipe, switches = Parameters(method="lnl", row="N4", overrides=OVERRIDES).resolve()
    runs = []
    for place in PLACES:
        for seed in SEEDS:
            grown = grow(place, recipe, switches, seed, "cpu", log=lambda line: print(line, flush=True))
            runs.append({"place": place, "seed": seed, "accuracy": round(grown.accuracy, 4), "cells": grown.cells.int().tolist()})
            runs[-1]["weight"] = [[round(w, 4) for w in epoch] for epoch in grown.weight.tolist()]
            print(place, seed, "share on the changed cells", [round(s, 3) for s in grown.share(grown.cells)], flush=True)
    about = {"row": "N4", "overrides": OVERRIDES, "device": describe(torch.device("cpu"), False), "commit": commit()}
    about |= {"sources": sources("lnl", "faces"), "finished": datetime.now(UTC).isoformat(timespec="seconds")}
    path = RESULTS / "lnl" / "growth.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_text(json.dumps(about | {"runs": runs}) + "\n")
    os.replace(part, path)
