"""What four changes to the training step brought: ``python tools/bench_changes.py [file to keep it in]``

Each is taken back for a while and measured in turns with the step as it is, on this machine (book/speed.md).
"""

import json
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from unittest.mock import patch

import torch

from fer_lib import train
from fer_lib.bench.against import Setting, both, pictures
from fer_lib.bench.parts import Trainee
from fer_lib.bench.timing import Spread, in_turns
from fer_lib.data.faces import make_faces
from fer_lib.data.loader import Augmentation
from fer_lib.nets import backbone, clusters
from fer_lib.machine import commit, describe

REPEATS, STEPS, CPU = 7, 6, torch.device("cpu")


def ratio(step: Callable[[], float], taken_back: Callable[[], AbstractContextManager]) -> Spread:
    """How many times as long a step takes without the change."""

    def without() -> float:
        with taken_back():
            return step()

    found = in_turns({"with": step, "without": without}, REPEATS)
    return Spread.of([slow / fast for fast, slow in zip(found["with"], found["without"], strict=True)])


def recognizer(size: int) -> Callable[[], float]:
    """Steps of ResNet-18 on 16 pictures."""
    setting = Setting(size, 16, STEPS, "cpu", 0)
    return both(setting, pictures(size, 16 * STEPS), Path(), ("fer_lib",))["fer_lib"].train_alone


def clcl() -> Callable[[], float]:
    """Steps of CLCL with the small network of ``quick`` on 16 faces of 48 pixels."""
    faces = make_faces(16 * STEPS, size=48)
    trainee = Trainee("clcl", faces, STEPS, CPU, "quick", "size=48 batch_size=16")
    return lambda: trainee.seconds()["train"]


def main(keep: str = "") -> None:
    undone = {
        "products in place of wide convolutions": lambda: patch.object(backbone, "FEW", 0),
        "weights as they lie in memory": lambda: patch.object(train, "_as_stored", lambda x, parameter: x.detach()),
        "16-bit numbers": lambda: patch.object(train, "mixed_precision", lambda *_: False),
        "k-means ends early": lambda: patch.object(clusters.torch, "equal", lambda *_: False),
    }
    steps = {"ResNet-18, 48 px": recognizer(48), "ResNet-18, 112 px": recognizer(112), "CLCL, quick, 48 px": clcl()}
    found = {}
    for what, taken_back in undone.items():
        of = {name: step for name, step in steps.items() if (name[:4] == "CLCL") == (what[:7] == "k-means")}
        for name, step in of.items():
            found[f"{what}: {name}"] = ratio(step, taken_back)
            print(f"{what}: {name}: x " + " / ".join(f"{value:.2f}" for value in found[f"{what}: {name}"]))
    if keep:
        made = {"ratios": found, "device": describe(CPU, True), "commit": commit()}
        Path(keep).write_text(json.dumps(made, indent=1) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
