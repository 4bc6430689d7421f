"""Does a dataset of AffectNet's size fit? ``python tools/bench_affectnet.py [faces] [file to keep it in]``

Writes a made-up AffectNet of so many faces of 224 pixels (70,000: a quarter of the true one; 12 GB of disk for a while),
prepares it and trains ResNet-18 on it for a few steps at 112 pixels, each in a process of its own; and the same with a
quarter of the faces. Says how long it took, and how much memory each process had for itself at most: pages of
a mapped file, which the system takes back when it needs them, are not counted.
"""

import io
import json
import os
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from threading import Event, Thread

import numpy as np
import psutil
import torch
from PIL import Image

from fer_lib.data import load_dataset
from fer_lib.data.affectnet import FOLDERS, SIZE
from fer_lib.data.faces import make_faces
from fer_lib.data.loader import Augmentation, Loader
from fer_lib.emotions import AFFECTNET_LABELS
from fer_lib.methods.baseline import Baseline
from fer_lib.nets.backbone import Backbone
from fer_lib.machine import commit, describe

DRAWN, STEPS, BATCH, SIDE, CPU = 64, 20, 64, 112, torch.device("cpu")
EVERY = 0.02  # seconds between two looks at the memory


def write(folder: Path, count: int) -> Path:
    """The training part of the new release: drawn faces as JPEG files, the same ones again and again."""
    faces, numbers = make_faces(DRAWN, size=SIZE), {emotion: str(k) for k, emotion in AFFECTNET_LABELS.items()}
    pictures = []
    for image in faces.images:
        stream = io.BytesIO()
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(stream, "JPEG", quality=90)
        pictures.append(stream.getvalue())
    part = folder / FOLDERS["train+val"]
    for name in ("images", "annotations"):
        (part / name).mkdir(parents=True)
    for k in range(count):
        (part / "images" / f"{k}.jpg").write_bytes(pictures[k % DRAWN])
        np.save(part / "annotations" / f"{k}_exp.npy", np.array(numbers[int(faces.labels[k % DRAWN])]))
    return folder


def alone(work, *arguments) -> dict[str, float]:
    """In a new process: seconds of the work, what it returns, and the most memory that it had for itself, in MB."""
    with ProcessPoolExecutor(1, get_context("spawn")) as process:
        return process.submit(_watched, work, arguments).result()


def _watched(work, arguments) -> dict[str, float]:
    own, done, seen = psutil.Process(), Event(), [0]

    def look() -> None:
        while not done.wait(EVERY):
            memory = own.memory_info()
            seen[0] = max(seen[0], memory.rss - memory.shared)

    watch = Thread(target=look)
    watch.start()
    begun = time.perf_counter()
    try:
        found = work(*arguments)
    finally:
        done.set()
        watch.join()
    return {"seconds": round(time.perf_counter() - begun, 1), "own_mb": round(seen[0] / 1e6), **found}


def prepare(data: Path) -> dict[str, float]:
    return {"faces": len(load_dataset("affectnet8", data, "train"))}


def train(data: Path) -> dict[str, float]:
    """Steps on faces from everywhere in the file, and what share of them is spent on fetching and changing faces."""
    loader = Loader(load_dataset("affectnet8", data, "train"), BATCH, CPU, SIDE, Augmentation(), "shuffled")
    method = Baseline(Baseline.Switches(), Backbone(size=SIDE), 8).to(memory_format=torch.channels_last).train()
    optimizer, fetching = torch.optim.SGD(method.parameters(), lr=0.01), 0.0
    batches, begun = loader.epoch(), time.perf_counter()
    for _ in range(STEPS):
        asked = time.perf_counter()
        batch = next(batches)
        fetching += time.perf_counter() - asked
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            loss = method.losses(batch, "train", "all")["cross-entropy"].value
        loss.backward()
        optimizer.step()
    seconds = time.perf_counter() - begun
    return {"images_per_second": round(BATCH * STEPS / seconds, 1), "fetching": round(fetching / seconds, 3)}


def main(count: str = "70000", keep: str = "") -> None:
    found = {}
    for faces in (int(count) // 4, int(count)):
        with tempfile.TemporaryDirectory() as folder:
            data = write(Path(folder) / "data", faces)
            os.environ["FER_LIB_CACHE"] = str(Path(folder) / "cache")
            found[str(faces)] = {"prepare": alone(prepare, data), "again": alone(prepare, data), "train": alone(train, data)}
            size = sum(path.stat().st_size for path in (Path(folder) / "cache").rglob("*") if path.is_file())
            found[str(faces)]["cache_mb"] = round(size / 1e6)
        print(f"{faces} faces: {json.dumps(found[str(faces)])}", flush=True)
    if keep:
        made = {"found": found, "device": describe(CPU, True), "commit": commit()}
        Path(keep).write_text(json.dumps(made, indent=1) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
