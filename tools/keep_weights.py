"""Put trained networks that the book shows into book/weights, with their model cards.

    python tools/keep_weights.py restorers RUNS
    python tools/keep_weights.py recognizers RUNS [DATASET=PATH ...]

RUNS is the folder of a sweep's records and weights (``make rerun SWEEP=quick``). The records must be valid; weights are
rounded, restorers' to 16 bits, recognizers' to 8. What is written is measured again, from the rounded weights; on photographs only if PATH is given.
A recognizer that RUNS does not have stays as it is kept.
"""

import re
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from fer_lib.data.degradation import Degradation
from fer_lib.data.loader import Loader
from fer_lib.emotions import NAMES
from fer_lib.errors import FerError
from fer_lib.evaluate import Scores, predict, score
from fer_lib.kept import SUMS, keep, load_recognizer, recognizer_path, write_sums
from fer_lib.parameters import Parameters
from fer_lib.record import Record, read_record, record_path
from fer_lib.run import EVALUATED_AT_ONCE, WEIGHTS, load_faces
from fer_lib.trained import load_trained

LARGEST, TOGETHER = 1_500_000, 8_000_000  # bytes
FEW = 30  # faces: of fewer, an interval by resampling says little
KEPT = {"ll_fer": ("A4", "A4-zero-dce", "A7", "A8", "A9-detail"), "sr_fer": ("S2", "S5", "S6", "S9-fsrcnn", "S9-rcan")}
# Whole recognizers: which runs, as Parameters spell them; one a method, row and dataset.
# timm's test_resnet has a third of the numbers of the book's recognizer; CLCL's head needs the larger one.
_SMALL = {"overrides": "backbone=test_resnet"}
RECOGNIZERS = (
    {"method": "baseline", "row": "R0", **_SMALL},
    {"method": "ll_fer", "row": "A7", **_SMALL},
    {"method": "sr_fer", "row": "S5", **_SMALL},
    {"method": "clcl", "row": "B4"},
    {"method": "err_net", "row": "E5", **_SMALL},
    {"method": "lnl", "row": "N4", **_SMALL},
    {"method": "baseline", "row": "R0", "dataset": "ferplus", "profile": "laptop", **_SMALL},
    {"method": "ll_fer", "row": "A7", "dataset": "ferplus", "profile": "laptop", **_SMALL},
)
CARD = """# Restorers that come with the book

Written by `tools/keep_weights.py restorers`; `fer_lib.kept.load_restorer` loads them. Whole recognizers: `recognizers.md`.

**What they are.** The restoring networks of two cascades: LLENet and Zero-DCE, which light up dark faces, and small
editions of EDSR, FSRCNN and RCAN, which enlarge faces of 16 pixels to 64. One file a row of the ablation tables in the chapters `ll_fer` and `sr_fer`,
16-bit weights.

**Data.** Procedural faces of this book (`make_faces`), training split, {faces:,} faces, {epochs} epochs, seed 0. No photograph and no
living person. **Licence:** that of the book's code.

**Figures.** Test split of the procedural faces, {tested:,} faces, this one run: accuracy of the whole cascade (its recognizer is not
in the file), with the 95 % interval over faces, PSNR of the restored pictures, recall of each emotion, in percent.

{table}

**Limits.** Trained on drawn faces of one size, in one kind of darkness or at one scale (÷4). They have seen no photograph; on
photographs they show what they do to edges and noise, and nothing about emotions. Those of `ll_fer` have seen no face in good light.
They say nothing about what a person feels, and must not be used to judge one.
"""
HEAD = """# Whole recognizers that come with the book

Written by `tools/keep_weights.py recognizers`; `fer_lib.kept.load_recognizer` loads them, for `book/playground.ipynb`. Each file holds weights
rounded to 8 bits, with a scale for each output channel, and in its header what network they are of; {sums} holds the files' checksums. What training alone needs
(a cascade's copy of its recognizer, a discriminator) was left out. The recognizers are small ones, made for a laptop and for this
folder's {megabytes:g} MB: the records in `book/results` are of larger ones where a section names changed parameters.
"""
SECTION = """
## {title}

`{name}`, {kilobytes:.0f} KB, {numbers:,} numbers.

**What it is.** Row {row} of the method `{method}` (chapter `book/{method}.ipynb`), {backbone}, pictures of {size} pixels, seed {seed}{changed}.
**Data.** {data} {faces} training faces, {epochs} epochs{spoiled}. **Licence.** {licence}

**Figures.** {measured}: accuracy, mean recall over the expressions, calibration error, recall of each expression; in percent, with 95 % intervals over faces, by resampling. {chosen}

{table}

**Limits.** {limits} It names a movement of the face by the label that it would get, not what a person feels, and must not be used to judge one.
"""
DATA = {
    "faces": "Procedural faces of this book (`make_faces`); no photograph and no living person.",
    "ferplus": "FERPlus: photographs from the web (FER2013) with ten votes a face, under the terms that `book/data.md` gives; none can be seen in the weights' file.",
}
LICENCE = {
    "faces": "That of the book's code.",
    "ferplus": "That of the book's code. It covers the weights, and not the photographs, which are not in the file and were given for research.",
}
CHOSEN = {
    "faces": "Nothing was chosen on these faces.",
    "ferplus": "The split is the validation part, because the test part was not at hand. The recipe (optimizer, augmentation, the network's first layer) was chosen by looking at these same faces, so the figures lean a little upward; the epoch was not, it is the last.",
}
LIMITS = {
    "faces": "It has seen no photograph: what it says of one is a curiosity. Trained once, with one seed.",
    "ferplus": "Grey, small pictures, from the web, labelled by what annotators saw; rare expressions were seldom seen. For whom it works less well is not measured. Trained once, with one seed.",
}


def line(row: str, record: Record, size: int) -> str:
    low, high = (100 * x for x in record.intervals["accuracy"])
    recalls = [f"{100 * record.metrics[f'recall_{name}']:.0f}" for name in NAMES]
    accuracy = f"{100 * record.metrics['accuracy']:.1f} [{low:.1f}, {high:.1f}]"
    return f"| {record.method} {row} | {size / 1000:.0f} KB | {accuracy} | {record.mechanism['psnr_restored']:.1f} | {' | '.join(recalls)} |"


def valid(runs: Path, method: str, name: str) -> tuple[Record, Path]:
    """The record of a run, and its weights file."""
    path = record_path(runs, method, name)
    record = read_record(path)
    if record.stale():
        raise FerError(f"{path} is stale: run it again before its weights are kept.")
    return record, path.with_suffix(".safetensors")


def keep_restorers(runs: Path, folder: Path = WEIGHTS) -> None:
    """The restorers of ``KEPT`` at ``quick`` with seed 0, and their card, README.md."""
    lines = ["| row | file | accuracy (%) | PSNR (dB) | " + " | ".join(NAMES) + " |", "|---" * (4 + len(NAMES)) + "|"]
    for method, rows in KEPT.items():
        for row in rows:
            record, weights = valid(runs, method, f"{row}-faces-quick-seed0")
            whole = load_file(weights)
            part = {name.removeprefix("restorer."): x.to(torch.float16) for name, x in whole.items() if name.startswith("restorer.")}
            kept = folder / f"{method}-{row}.safetensors"
            save_file({name: x.contiguous() for name, x in part.items()}, kept, {"run": weights.stem, "commit": record.commit})
            lines.append(line(row, record, kept.stat().st_size))
    given = record.parameters
    card = CARD.format(faces=given["train_images"], epochs=given["epochs"], tested=len(record.labels), table="\n".join(lines))
    (folder / "README.md").write_text(card)


def keep_recognizers(runs: Path, data: dict[str, str], folder: Path = WEIGHTS) -> None:
    """The recognizers of ``RECOGNIZERS``, and their cards, recognizers.md; those without a run stay, with their cards."""
    sections, cards = [], folder / "recognizers.md"
    old = {card.split("`")[1]: f"\n## {card}" for card in re.split(r"\n## ", cards.read_text())[1:]} if cards.is_file() else {}
    for which in RECOGNIZERS:
        parameters = Parameters(**which)
        path = recognizer_path(parameters.method, parameters.row, parameters.dataset, folder)
        if path.name in old and path.is_file() and not record_path(runs, parameters.method, parameters.name).is_file():
            sections.append(old[path.name])
            continue
        record, weights = valid(runs, parameters.method, parameters.name)
        keep(load_trained(weights), path)
        write_sums(folder)
        sections.append(section(path, parameters, record, data.get(record.dataset, "")))
    head = HEAD.format(sums=f"`{SUMS}`", megabytes=TOGETHER / 1e6)
    cards.write_text(head + "".join(sections))


def section(path: Path, parameters: Parameters, record: Record, data: str) -> str:
    """The model card of one kept recognizer."""
    trained, given = load_recognizer(path), record.parameters
    scores, measured = Scores(record.metrics, record.intervals, record.confusion), "Figures of the record, of the weights before rounding"
    if data or record.dataset == "faces":
        faces = load_faces(parameters.model_copy(update={"data": data}), trained.recipe, record.split)
        spoil = Degradation.of(trained.recipe.degrade)
        logits, labels = predict(trained.method, Loader(faces, EVALUATED_AT_ONCE, "cpu", trained.recipe.size, degrade=spoil))
        before = torch.tensor([int(digit) for digit in record.predicted])
        other = int((logits.argmax(1) != before).sum())
        scores, measured = score(logits, labels), f"Measured with the rounded weights, which name {other} of the faces otherwise than the record's"
    return SECTION.format(
        title=f"{record.method} {record.row}, {record.dataset}", name=path.name, kilobytes=path.stat().st_size / 1000,
        numbers=sum(x.numel() for x in trained.method.state_dict().values()), row=record.row, method=record.method,
        backbone=given["backbone"], size=given["size"], seed=record.seed,
        changed=f", changed: `{given['overrides']}`" if given["overrides"] else "",
        data=DATA[record.dataset], faces=f"{given['train_images']:,}" if given["train_images"] else "All",
        epochs=given["epochs"], spoiled=f", degraded: `{given['degrade']}`" if given["degrade"] else "",
        licence=LICENCE[record.dataset], limits=LIMITS[record.dataset],
        measured=f"{measured}; {len(record.labels):,} faces of the {record.split} split" + (", degraded alike" if given["degrade"] else ""),
        chosen=CHOSEN[record.dataset], table=figures_table(scores),
    )  # fmt: skip


def figures_table(scores: Scores) -> str:
    """Each figure, its interval where one can be made, and the faces that it is of."""
    seen = {"accuracy": sum(map(sum, scores.confusion))} | {f"recall_{name}": sum(row) for name, row in zip(NAMES, scores.confusion, strict=False)}
    right = {f"recall_{name}": row[k] for k, (name, row) in enumerate(zip(NAMES, scores.confusion, strict=False))}
    lines = ["| figure | value | interval | faces |", "|---|---|---|---|"]
    for name in ("accuracy", "macro_recall", "calibration_error", *right):
        if name not in scores.values:
            continue
        faces, (low, high) = seen.get(name, seen["accuracy"]), (100 * x for x in scores.intervals[name])
        interval = f"{low:.1f} to {high:.1f}"
        if right.get(name) in (0, faces):  # resampled, it is the same each time
            interval = f"none: {'no face' if not right[name] else 'every face'} was named right"
        elif faces < FEW:
            interval = "none: too few faces"
        lines.append(f"| {name.removeprefix('recall_').replace('_', ' ')} | {100 * scores.values[name]:.1f} | {interval} | {faces:,} |")
    return "\n".join(lines)


def check_sizes(folder: Path = WEIGHTS) -> None:
    """Whether the files are as small as the repository wants them."""
    sizes = {path.name: path.stat().st_size for path in folder.glob("*.safetensors")}
    for name, size in sizes.items():
        if size > LARGEST:
            raise FerError(f"{name} has {size / 1e6:.1f} MB, more than {LARGEST / 1e6:g}: keep a smaller network.")
    if sum(sizes.values()) > TOGETHER:
        raise FerError(f"The weights have {sum(sizes.values()) / 1e6:.1f} MB together, more than {TOGETHER / 1e6:g}: keep fewer, or smaller ones.")


def main(words: list[str]) -> None:
    if len(words) < 2 or words[0] not in ("restorers", "recognizers"):
        raise FerError("Say what to keep and where the runs lie: python tools/keep_weights.py restorers|recognizers RUNS [DATASET=PATH ...].")
    WEIGHTS.mkdir(exist_ok=True)
    if words[0] == "restorers":
        keep_restorers(Path(words[1]))
    else:
        keep_recognizers(Path(words[1]), dict(word.split("=", 1) for word in words[2:]))
    write_sums(WEIGHTS)
    check_sizes()


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except FerError as error:
        sys.exit(str(error))
