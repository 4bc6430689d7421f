"""Every figure of the book, in one look."""

from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from IPython.display import Markdown
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from pandas.io.formats.style import Styler
from torch import Tensor

from fer_lib.data.faceset import FaceSet
from fer_lib.emotions import NAMES
from fer_lib.record import Record

# One colour per method, in every figure of the book: the set of Okabe and Ito, safe for the colour-blind.
COLOURS = {
    "baseline": "#4d4d4d",
    "ll_fer": "#e69f00",
    "sr_fer": "#56b4e9",
    "clcl": "#009e73",
    "err_net": "#d55e00",
    "lnl": "#0072b2",
}
ACCENT, QUIET = "#cc79a7", "#bbbbbb"


def use_style() -> None:
    """Set matplotlib up for the book: sizes that stay legible on a phone, no needless ink.

    Explained in: book/faces.ipynb
    """
    plt.rcParams.update(
        {
            "figure.figsize": (7.2, 3.6),
            "figure.dpi": 110,
            "figure.constrained_layout.use": True,
            "savefig.facecolor": "white",
            "font.size": 11,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.titlesize": 11,
            "axes.grid": True,
            "grid.color": "#e6e6e6",
            "axes.axisbelow": True,
            "image.interpolation": "nearest",
            "animation.embed_limit": 3,
        }
    )


def face_grid(
    images: Tensor, columns: int, titles: Sequence[str] = (), rows: Sequence[str] = (), maps: Tensor | None = None
) -> Figure:
    """Faces side by side, row by row.

    Args:
        images: uint8 or float in [0, 1], (N, 1 or 3, H, W).
        columns: faces per row.
        titles: over the faces: one each, or one per column.
        rows: names of the rows, left of them.
        maps: (N, H, W) in [0, 1], laid over the faces in colour.

    Explained in: book/faces.ipynb
    """
    count = -(-len(images) // columns)
    height = 7.2 / columns * count + (0.3 if titles else 0) * (count if len(titles) > columns else 1)
    figure, axes = plt.subplots(count, columns, figsize=(7.2, height), squeeze=False)
    for i, ax in enumerate(axes.flat):
        ax.set(xticks=[], yticks=[])
        ax.spines[:].set_visible(False)
        ax.grid(False)
        if i >= len(images):
            continue
        pixels = images[i].permute(1, 2, 0).cpu().numpy()
        ax.imshow(pixels.squeeze(-1) if pixels.shape[-1] == 1 else pixels, cmap="gray", vmin=0, vmax=_white(images))
        if maps is not None:
            ax.imshow(maps[i].numpy(), cmap="inferno", alpha=0.5, vmin=0, vmax=1)
        if i < len(titles):
            ax.set_title(titles[i], fontsize=9 if columns > 5 else 10)
        if i % columns == 0 and rows:
            ax.set_ylabel(rows[i // columns], fontsize=10)
    return figure


def truth(faces: FaceSet, k: int) -> Figure:
    """All that a procedural FaceSet knows of its face ``k``: image, landmarks, mask, neutral twin.

    Explained in: book/faces.ipynb
    """
    mask = faces.masks[k].expand(3, -1, -1)
    panels = torch.stack([faces.images[k], faces.images[k], mask, faces.neutral[k]])
    figure = face_grid(panels, 4, ["image", "landmarks", "expression mask", "neutral twin"])
    x, y = faces.landmarks[k].unbind(1)
    figure.axes[1].scatter(x, y, s=9, c="white", edgecolors="black", linewidths=0.6)
    return figure


def confusion(record: Record, ax: Axes | None = None) -> Axes:
    """The confusion matrix of a record: rows the truth, columns the prediction, percent of the row.

    Explained in: book/baseline.ipynb
    """
    counts = np.array(record.confusion)
    share = 100 * counts / np.maximum(counts.sum(1, keepdims=True), 1)
    ax = ax or plt.subplots(figsize=(5.6, 4.8))[1]
    picture = ax.imshow(share, cmap="Blues", vmin=0, vmax=100)
    names = NAMES[: len(counts)]
    ax.set(xticks=range(len(names)), yticks=range(len(names)), xlabel="predicted", ylabel="true")
    ax.set_xticklabels(names, rotation=45, ha="right", rotation_mode="anchor")
    ax.set_yticklabels(names)
    ax.grid(False)
    for row, column in np.ndindex(*share.shape):
        if share[row, column] >= 0.5:
            colour = "white" if share[row, column] > 55 else "black"
            ax.text(column, row, f"{share[row, column]:.0f}", ha="center", va="center", color=colour, fontsize=9)
    ax.figure.colorbar(picture, ax=ax, label="percent of the true class")
    return ax


def history(record: Record) -> Figure:
    """Loss and validation accuracy against epochs; a ring marks the epoch that validation chose.

    Explained in: book/baseline.ipynb
    """
    terms = list(dict.fromkeys(k for e in record.history for k in e if "/" in k))
    crowded = len(terms) > 4
    figure, (left, right) = plt.subplots(1, 2, figsize=(7.2, 4.4 if crowded else 3.6))
    epochs, colour = [e["epoch"] for e in record.history], COLOURS[record.method]
    colours = dict.fromkeys([colour, ACCENT, *COLOURS.values()])
    left.set_prop_cycle(plt.cycler(linestyle=["-", "--"]) * plt.cycler(color=list(colours)))
    players = {term.split("/")[0] for term in terms}
    for term in terms:
        seen = [e for e in record.history if term in e]
        label = term.replace("/", ": ") if len(players) > 1 else term.split("/")[1]
        left.plot([e["epoch"] for e in seen], [e[term] for e in seen], marker=".", label=label)
    if crowded:
        figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize=9)
    elif terms:
        left.legend(frameon=False, fontsize=9)
    unit = "training loss (nats)" if len(terms) == 1 else "loss terms, each in its own unit"
    # A loss may be negative: then the axis goes down to it.
    lowest = min((e[term] for e in record.history for term in terms if term in e), default=0)
    left.set(xlabel="epoch", ylabel=unit, ylim=(0 if lowest >= 0 else None, None))
    accuracy = [100 * e["val_accuracy"] for e in record.history]
    right.plot(epochs, accuracy, color=colour)
    chosen = record.chosen.epoch
    right.plot(chosen, accuracy[chosen - 1], "o", ms=10, mfc="none", mec=ACCENT, mew=2, label="chosen")
    right.set(xlabel="epoch", ylabel="validation accuracy (%)")
    right.legend(frameon=False)
    return figure


def intervals(table: pd.DataFrame, label: str, metric: str = "accuracy", ax: Axes | None = None) -> Axes:
    """A dot and its 95 % interval for every line of :func:`fer_lib.record.summarize`.

    Args:
        label: the column that names the lines.
        metric: which of the table's metrics.

    Explained in: book/baseline.ipynb
    """
    ax = ax or plt.subplots(figsize=(7.2, 0.5 * len(table) + 1))[1]
    for y, (_, line) in enumerate(table.iloc[::-1].iterrows()):
        colour = COLOURS[line["method"]]
        ax.plot([line[f"{metric}_low"], line[f"{metric}_high"]], [y, y], color=colour, lw=2)
        ax.plot(line[metric], y, "o", color=colour)
    ax.set(yticks=range(len(table)), xlabel=f"{metric.replace('_', ' ')} (%)", ylim=(-0.6, len(table) - 0.4))
    ax.set_yticklabels(table[label].iloc[::-1])
    return ax


def batch_dependence(batches: Sequence[int], curves: dict[str, list[float]], plain: float) -> Figure:
    """Accuracy in percent against how many faces share a batch, one curve per order of the list.

    Args:
        plain: accuracy of the head that looks at no neighbour, drawn as the level to compare with.

    Explained in: book/baseline.ipynb
    """
    figure, ax = plt.subplots()
    ax.axhline(plain, color="black", lw=1, ls="--", label="plain head")
    for (name, values), colour, mark in zip(curves.items(), (COLOURS["err_net"], COLOURS["lnl"]), "os", strict=False):
        ax.plot(batches, values, marker=mark, color=colour, label=name)
    ax.set_xscale("log", base=2)
    ax.set_xticks(batches, [str(b) for b in batches])
    ax.set(xlabel="faces per batch", ylabel="accuracy (%)")
    ax.legend(frameon=False)
    return figure


def bars(counts: dict[str, dict[str, int]], ax: Axes | None = None) -> Axes:
    """Share of every emotion, one group of bars per set (``{set: {emotion: faces}}``).

    Explained in: book/faces.ipynb
    """
    ax = ax or plt.subplots()[1]
    width, palette = 0.8 / len(counts), list(COLOURS.values())
    for k, (name, faces) in enumerate(counts.items()):
        total = sum(faces.values())
        x = np.arange(len(faces)) + (k - (len(counts) - 1) / 2) * width
        ax.bar(x, [100 * n / total for n in faces.values()], width, label=f"{name} ({total:,} faces)", color=palette[k])
    ax.set_xticks(range(len(faces)), list(faces), rotation=30, ha="right", rotation_mode="anchor")
    ax.set_ylabel("share of the faces (%)")
    ax.legend(frameon=False)
    return ax


def percent_table(table: pd.DataFrame, caption: str, metrics: Sequence[str] = ("accuracy", "macro_recall")) -> Styler:
    """A summary as readers see it: each metric as mean and 95 % interval in percent.

    Explained in: book/baseline.ipynb
    """
    shown: dict[str, Any] = {c: table[c] for c in table if not any(c.startswith(m) for m in metrics)}
    for metric in metrics:
        lines = zip(table[metric], table[f"{metric}_low"], table[f"{metric}_high"], strict=True)
        shown[f"{metric.replace('_', ' ')} (%)"] = [_with_interval(*line) for line in lines]
    return pd.DataFrame(shown).style.hide(axis="index").set_caption(caption)


def origin(records: Sequence[Record]) -> str:
    """On what the records were made and until when, and which commits' sources are not today's; "" without records.

    Where it was not one device and precision, the rows of all but the most used are named, and the seeds of a row that had two.

    Explained in: book/ll_fer.ipynb
    """
    if not records:
        return ""
    rows = {device: _on(device, records) for device in {r.device for r in records}}
    most, *others = sorted(rows, key=lambda device: (-len(rows[device]), device))
    said = "; ".join([f"Run on {most}", *(f"{', '.join(rows[device])} on {device}" for device in others)])
    said += f", last on {max(r.finished for r in records)[:10]}."
    old = sorted({r.commit[:7] for r in records if r.stale()})
    return said + f" Some were made by an earlier state of the library (commit {', '.join(old)})." * bool(old)


def _on(device: str, records: Sequence[Record]) -> list[str]:
    """The rows that were made on a device; of one that was made elsewhere, too, with its seeds."""
    seeds: dict[str, set[int]] = {}
    for r in records:
        if r.device == device:
            seeds.setdefault(r.row, set()).add(r.seed)
    shared = {r.row for r in records if r.device != device}
    return [f"{row} (seed {', '.join(map(str, sorted(seeds[row])))})" if row in shared else row for row in sorted(seeds)]


def told(*paragraphs: str) -> Markdown:
    """Sentences that records made; those that wait for a record, or for a second seed, are named once, at the end. A list stays as it is.

    Args:
        paragraphs: of sentences such as :func:`fer_lib.versus.verdicts` makes; an empty line between two.

    Explained in: book/sr_fer.ipynb
    """
    lines = [line for text in paragraphs for line in text.split("\n\n")]
    known = [line for line in lines if line.startswith("- ") or "recorded yet" not in line]
    waiting: dict[bool, dict[str, None]] = {False: {}, True: {}}
    for line in lines:
        if line not in known:
            waiting["no two common seeds" in line].setdefault(line.split(":")[0].strip("* "))
    single = [name for name in waiting[True] if name not in waiting[False]]
    said = [f"Not recorded yet: {'; '.join(waiting[False])}."] * bool(waiting[False])
    said += [f"No interval, for want of two seeds that both have: {'; '.join(single)}."] * bool(single)
    return Markdown("\n\n".join(known + said))


def say_if_empty(ax: Axes, drawn: bool) -> None:
    """Where nothing was drawn, a word on why.

    Explained in: book/ll_fer.ipynb
    """
    if not drawn:
        ax.text(0.5, 0.5, "no record yet", transform=ax.transAxes, ha="center", va="center", color="#6b6b6b")


def _with_interval(mean: float, low: float, high: float) -> str:
    return f"{mean:.1f}" if np.isnan(low) else f"{mean:.1f} [{low:.1f},\N{NO-BREAK SPACE}{high:.1f}]"


def _white(images: Tensor) -> float:
    """The value that is white."""
    return 255 if images.dtype == torch.uint8 else 1
