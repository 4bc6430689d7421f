"""Put the restorers that the book shows into book/weights, with their model card: python tools/keep_weights.py RUNS

RUNS is the folder of a sweep's records and weights (``make rerun SWEEP=quick``). Taken are the runs at ``quick``
with seed 0, whose records must be valid; weights are rounded to 16 bits.
"""

import sys
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from fer_lib.emotions import NAMES
from fer_lib.record import Record, read_record, record_path
from fer_lib.run import WEIGHTS

KEPT = {"ll_fer": ("A4", "A4-zero-dce", "A7", "A8", "A9-detail"), "sr_fer": ("S2", "S5", "S6", "S9-fsrcnn", "S9-rcan")}
CARD = """# Restorers that come with the book

Written by `tools/keep_weights.py`; `fer_lib.kept.load_restorer` loads them.

**What they are.** The restoring networks of two cascades: LLENet and Zero-DCE, which light up dark faces, and small
editions of EDSR, FSRCNN and RCAN, which enlarge faces of 16 pixels to 64. One file a row of the ablation tables in the chapters `ll_fer` and `sr_fer`,
16-bit weights.

**Data.** Procedural faces of this book (`make_faces`), training split, {faces:,} faces, {epochs} epochs, seed 0. No photograph and no
living person. **Licence:** that of the book's code.

**Figures.** Test split of the procedural faces, {tested:,} faces, this one run: accuracy of the whole cascade (its recognizer is not
in the file), with the 95 % interval over faces, PSNR of the restored pictures, recall of each emotion, in percent.

{table}

**Limits.** Trained on drawn faces of one size, in one kind of darkness or at one scale (÷4). They have seen no photograph; on
photographs they show what they do to edges and noise, and nothing about emotions. None of them has seen good light.
They say nothing about what a person feels, and must not be used to judge one.
"""


def line(row: str, record: Record, size: int) -> str:
    low, high = (100 * x for x in record.intervals["accuracy"])
    recalls = [f"{100 * record.metrics[f'recall_{name}']:.0f}" for name in NAMES]
    accuracy = f"{100 * record.metrics['accuracy']:.1f} [{low:.1f}, {high:.1f}]"
    return f"| {record.method} {row} | {size / 1000:.0f} KB | {accuracy} | {record.mechanism['psnr_restored']:.1f} | {' | '.join(recalls)} |"


def main(runs: Path) -> None:
    WEIGHTS.mkdir(exist_ok=True)
    lines = ["| row | file | accuracy (%) | PSNR (dB) | " + " | ".join(NAMES) + " |", "|---" * (4 + len(NAMES)) + "|"]
    for method, rows in KEPT.items():
        for row in rows:
            path = record_path(runs, method, f"{row}-faces-quick-seed0")
            record = read_record(path)
            if record.stale():
                sys.exit(f"{path} is stale: run it again before its weights are kept.")
            whole = load_file(path.with_suffix(".safetensors"))
            part = {name.removeprefix("restorer."): x.to(torch.float16) for name, x in whole.items() if name.startswith("restorer.")}
            kept = WEIGHTS / f"{method}-{row}.safetensors"
            save_file({name: x.contiguous() for name, x in part.items()}, kept, {"run": path.stem, "commit": record.commit})
            lines.append(line(row, record, kept.stat().st_size))
    given = record.parameters
    card = CARD.format(faces=given["train_images"], epochs=given["epochs"], tested=len(record.labels), table="\n".join(lines))
    (WEIGHTS / "README.md").write_text(card)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
