"""Time what a batch costs beyond its training, and what a second worker brings: ``python tools/bench_reruns.py [--keep FILE]``

Prints, for a few runs of ``quick`` on few faces one after another, the seconds a run that are not training:
checks, Snakemake, papermill, imports, faces, evaluation and figures (at most 8 are asked for). Then, for
longer runs, how many times as fast two workers of one thread are as one (at least 1.7 are asked for). The
machine should have two cores and nothing else to do; processor seconds tell how busy it was.
"""

import argparse
import json
import resource
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import torch

from fer_lib.errors import FerError
from fer_lib.machine import commit, describe
from fer_lib.record import find_records
from fer_lib.rerun import rerun

# Sizes of smoke at another profile: at smoke itself a sweep executes the cells of the page, too.
FEW = "size=48 train_images=96 val_images=64 test_images=64 epochs=2 warmup=0"


class Cost(NamedTuple):
    """Seconds of a batch: on the clock, of the processor, and of training."""

    wall: float
    cpu: float
    training: float


def batch(method: str, row: str, overrides: str, runs: int, workers: int) -> Cost:
    """Run one row with that many seeds at ``quick`` in a new folder.

    Raises:
        FerError: if a run failed.
    """
    with tempfile.TemporaryDirectory() as folder:
        path, out = Path(folder) / "bench.yaml", Path(folder) / "runs"
        path.write_text(f"{method}: {{rows: [{row}], seeds: {list(range(runs))}, overrides: {overrides}, device: cpu}}")
        cpu, wall = _cpu(), time.perf_counter()
        failed = rerun(str(path), out, workers)
        wall, cpu = time.perf_counter() - wall, _cpu() - cpu
        if failed:
            raise FerError(f"{failed} runs failed: mend what the lines above say, then measure.")
        return Cost(wall, cpu, sum(record.cost["seconds"] for record in find_records(out).values()))


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--method", default="baseline", help="whose chapter is run (default: baseline)")
    parser.add_argument("--row", default="R0", help="row of its table (default: R0)")
    parser.add_argument("--runs", type=int, default=4, help="of each batch (default: 4)")
    parser.add_argument("--overrides", default="train_images=1000", help="of the longer runs (default: train_images=1000)")
    parser.add_argument("--keep", default="", help="file for the figures, for example book/results/speed/reruns.json")
    options = parser.parse_args()
    short = batch(options.method, options.row, FEW, options.runs, 1)
    beyond = (short.wall - short.training) / options.runs
    print(f"{options.runs} short runs: {short.wall:.1f} s, {short.training:.1f} s of it training", end=": ")
    print(f"{beyond:.1f} s a run beyond its training ({short.cpu / options.runs:.1f} processor seconds a run in all)")
    one, two = (batch(options.method, options.row, options.overrides, options.runs, workers) for workers in (1, 2))
    print(f"{options.runs} longer runs: one worker {one.wall:.1f} s, two workers {two.wall:.1f} s", end=": ")
    print(f"x {one.wall / two.wall:.2f} ({one.cpu:.0f} and {two.cpu:.0f} processor seconds)")
    if options.keep:
        found = {"runs": options.runs, "beyond_seconds": round(beyond, 2), "two_workers": round(one.wall / two.wall, 2)}
        found |= {"device": describe(torch.device("cpu"), True), "commit": commit()}
        Path(options.keep).write_text(json.dumps(found | {"method": options.method, "row": options.row}) + "\n")


if __name__ == "__main__":
    main()
