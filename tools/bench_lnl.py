"""Time the grouped local networks against as many separate ones: ``python tools/bench_lnl.py [file to keep it in]``.

Prints, for each number of regions, milliseconds of processor time of both and their ratio, measured
in turns in one process on one thread: from the map over the cutting to the logits, and back.
"""

import json
import sys
import time
from pathlib import Path
from statistics import median

import torch
from torch import Tensor

from fer_lib.nets.regions import LocalNetworks, cut
from fer_lib.machine import commit, describe


def separate(joined: LocalNetworks) -> list[LocalNetworks]:
    """As many networks of one region each, with the same weights."""
    m, alone = joined.regions, []
    for k in range(m):
        channels, width = joined.first.weight.shape[1], joined.feature.out_channels // m
        one = LocalNetworks(1, channels, width, joined.head.out_channels // m, joined.before)
        state = {name: v if v.ndim == 0 else v.chunk(m)[k] for name, v in joined.state_dict().items()}
        one.load_state_dict(state)
        alone.append(one)
    return alone


def step(networks: list[LocalNetworks], features: Tensor, side: int, weight: Tensor) -> float:
    """Seconds of one forward and backward pass."""
    started = time.process_time()
    regions, count = cut(features, side), side * side // len(networks)
    parts = zip(networks, regions.split(count, 1), weight.split(count, 1), strict=True)
    sum(part.square().sum() for one in parts for part in one[0](*one[1:])).backward()
    return time.process_time() - started


def compare(side: int, channels: int = 16, width: int = 64, batch: int = 16, turns: int = 30) -> tuple[float, float]:
    """Median seconds of a step: (all in one, separate). The sizes are those of the ``quick`` profile."""
    torch.manual_seed(0)
    joined = LocalNetworks(side * side, channels, width, 8)
    alone = separate(joined)
    features = torch.randn(batch, channels, 32, 32, requires_grad=True)
    weight = torch.rand(batch, side * side)
    times = [tuple(step(nets, features, side, weight) for nets in ([joined], alone)) for _ in range(turns + 3)][3:]
    return median(a for a, _ in times), median(b for _, b in times)


if __name__ == "__main__":
    torch.set_num_threads(1)
    found = {}
    for side in (2, 3, 4, 5):
        one, many = compare(side)
        said = f"one {1000 * one:.1f} ms, separate {1000 * many:.1f} ms, ratio {many / one:.2f}"
        print(f"{side * side:>2} regions: {said}")
        found[side * side] = {"one_ms": round(1000 * one, 2), "separate_ms": round(1000 * many, 2)}
    if keep := sys.argv[1:]:
        about = {"device": describe(torch.device("cpu"), False), "commit": commit()}
        Path(keep[0]).write_text(json.dumps({"regions": found} | about) + "\n")
