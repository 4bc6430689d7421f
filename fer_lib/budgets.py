"""What the methods' rows were trained with, and what they cost beside their partners, as the records say."""

from collections.abc import Iterable, Sequence
from statistics import median
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patheffects import withStroke
from pandas.io.formats.style import Styler

from fer_lib.compare import TITLES, Pair, effects
from fer_lib.record import Record, by_seed
from fer_lib.show import COLOURS, say_if_empty

# Seconds: below, a row has set nothing but its clock in motion (a fixed control learns nothing).
TRAINED = 1.0


def protocol(records: Sequence[Record], caption: str) -> Styler:
    """What every method's rows were trained and measured with, one line a method, as its records say.

    Explained in: book/compare.ipynb
    """
    lines = []
    for method in TITLES:
        own = [r for r in records if r.method == method]
        learned = [r for r in own if r.cost["seconds"] > TRAINED] or own
        names = ("train_images", "val_images", "size", "epochs", "batch_size")
        seen: dict[str, set] = {name: {r.parameters[name] for r in learned} for name in names}
        seeds = {row: len({r.seed for r in own if r.row == row}) for row in {r.row for r in own}}
        lines += [{
            "method": TITLES[method], "trained on": _range(seen["train_images"]), "validated on": _range(seen["val_images"]),
            "measured on": _range({len(r.labels) for r in own}), "pixels": _range(seen["size"]), "epochs": _range(seen["epochs"]), "batch": _range(seen["batch_size"]),
            "start": ", ".join(sorted({r.parameters.get("recognizer", "") for r in own} - {""})), "rows": len(seeds), "seeds": _range(seeds.values()),
        }] if own else []  # fmt: skip
    networks = sorted({r.parameters["backbone"] for r in records})
    caption += f" Recognizer: {', '.join(networks)}." * bool(networks)
    return pd.DataFrame(lines).replace("", "–").style.hide(axis="index").set_caption(caption)


class Cost(NamedTuple):
    """What a row costs beside its partner: ratios by seed (of runs on the same device), and parameters of both.

    Explained in: book/compare.ipynb
    """

    seconds: list[float]
    speed: list[float]
    parameters: tuple[float, float]


def cost_of(records: Sequence[Record], pair: Pair) -> Cost | None:
    """The :class:`Cost` of ``second`` against ``first``, or ``None`` where no common seed of both was trained on one device.

    Explained in: book/compare.ipynb
    """
    a, b = (by_seed(r for r in records if (r.method, r.row) == (pair.method, row)) for row in (pair.first, pair.second))
    both = [(x, y) for seed in a if seed in b for x, y in zip(a[seed], b[seed], strict=False)]
    both = [(x.cost, y.cost) for x, y in both if x.device == y.device and min(x.cost["seconds"], y.cost["seconds"]) > TRAINED]
    if not both:
        return None
    ratios = [[y[name] / x[name] for x, y in both] for name in ("seconds", "images_per_second")]
    return Cost(*ratios, tuple(c["parameters"] for c in both[0]))


def cost_table(records: Sequence[Record], pairs: Iterable[Pair], caption: str) -> Styler:
    """Seconds of training and images a second as ratios (median, smallest to largest over seeds); parameters in millions.

    Explained in: book/compare.ipynb
    """
    lines = []
    for pair, cost in ((pair, cost_of(records, pair)) for pair in pairs):
        if cost:
            few, many = (f"{x / 1e6:.2f}" for x in cost.parameters)
            ratios = [f"× {median(x):.2f} ({min(x):.2f}\N{NO-BREAK SPACE}to\N{NO-BREAK SPACE}{max(x):.2f})" for x in cost[:2]]
            lines.append((f"{pair.second} / {pair.first}", pair.tells, *ratios, f"{many} / {few}", len(cost.seconds)))
    columns = ["rows", "what differs", "seconds of training", "images a second", "parameters (million)", "seeds"]
    return pd.DataFrame(lines, columns=columns).style.hide(axis="index").set_caption(caption)


def gain_against_cost(records: Sequence[Record], pairs: Iterable[Pair]) -> Axes:
    """Difference in accuracy against the ratio of training seconds, one point a pair, with interval and spread over seeds.

    Explained in: book/compare.ipynb
    """
    ax = plt.subplots(figsize=(4.8, 4.2))[1]
    ax.axhline(0, color="black", lw=1.2, ls="--")
    ax.axvline(1, color="black", lw=1.2, ls=":")
    for effect in effects(records, pairs):
        cost = cost_of(records, effect.pair)
        if cost and effect.each:
            x, (y, low, high) = median(cost.seconds), effect.interval
            arms = {"xerr": [[x - min(cost.seconds)], [max(cost.seconds) - x]], "yerr": np.nan_to_num([[y - low], [high - y]])}
            ax.errorbar(x, y, fmt="D", color=COLOURS[effect.pair.method], lw=1.5, ms=7, mec="white", **arms)
            place = {"xytext": (6, 5 if y >= 0 else -5), "textcoords": "offset points", "va": "bottom" if y >= 0 else "top"}
            label = ax.annotate(f"{effect.pair.second} / {effect.pair.first}", (x, y), fontsize=10, zorder=5, **place)
            label.set_path_effects([withStroke(linewidth=3, foreground="white")])
    say_if_empty(ax, bool(ax.containers))
    ax.set(xscale="log", xlabel="training time, as a multiple of the partner's", ylabel="difference in accuracy (points)")
    ticks = [t for t in (0.25, 0.5, 1, 2, 4, 8, 16) if ax.get_xlim()[0] <= t <= ax.get_xlim()[1]]
    ax.set_xticks(ticks, [f"× {t:g}" for t in ticks])
    ax.set_xticks([], minor=True)
    return ax


def _range(values: Iterable[Any]) -> str:
    """``1,000``, or the smallest to the largest; 0 means all there are."""
    known = sorted(set(values), key=lambda value: value or np.inf)
    return " to ".join(f"{value:,}" if value else "all" for value in dict.fromkeys((known[0], known[-1])))
