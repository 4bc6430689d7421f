"""What share of a training step k-means costs at the shapes of the `full` profile.

    .venv/bin/python tools/bench_kmeans.py [faces per step] [pixels a side] [device] [file to keep it in]

Clusters the 512 channels of every face (K = 4) and the faces themselves (K = 7), and times one step of
CLCL with ResNet-18: forward, losses, backward. One step has 256 faces in the paper; on a CPU take fewer: both
costs grow with the number of faces.
"""

import json
import sys
import time
from pathlib import Path

import torch

from fer_lib.data.loader import Batch
from fer_lib.methods.clcl import CLCL
from fer_lib.nets.backbone import Backbone
from fer_lib.nets.clusters import kmeans
from fer_lib.machine import commit, describe


def seconds(work, device: torch.device, repeats: int = 3) -> float:
    """The fastest of some runs, after one to warm up."""
    times = []
    for _ in range(repeats + 1):
        started = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - started)
    return min(times[1:])


def main(faces: int = 256, size: int = 112, device: str = "cpu", keep: str = "") -> None:
    where = torch.device(device)
    method = CLCL(CLCL.Switches(), Backbone("resnet18", size=size), 8).to(where, memory_format=torch.channels_last)
    index = torch.arange(faces, device=where)
    batch = Batch(torch.rand(faces, 3, size, size, device=where), index % 8, index)

    def step() -> None:
        terms = method.losses(batch, "train", "all")
        sum(term.weight * term.value for term in terms.values()).backward()

    channels, samples = torch.randn(faces, 512, 4, device=where), torch.randn(1, faces, 484, device=where)
    whole, clusters = seconds(step, where), seconds(lambda: (kmeans(channels, 4), kmeans(samples, 7)), where)
    share = f"k-means {clusters:.3f} s, {100 * clusters / whole:.1f} % of it"
    print(f"{faces} faces of {size} px, {torch.get_num_threads()} threads: a step {whole:.2f} s, {share}")
    if keep:
        found = {"faces": faces, "size": size, "step_seconds": round(whole, 3), "kmeans_seconds": round(clusters, 4)}
        Path(keep).write_text(json.dumps(found | {"device": describe(where, False), "commit": commit()}) + "\n")


if __name__ == "__main__":
    faces, size, device, keep = sys.argv[1:] + ["256", "112", "cpu", ""][len(sys.argv) - 1 :]
    main(int(faces), int(size), device, keep)
