"""What the chapter on explaining draws and says: maps measured against the truth, faces that vanish, parts that forget."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from fer_lib.evaluate import mean_interval
from fer_lib.show import COLOURS

_MARKS = ["o", "s", "D", "^", "v", "x"]
_LINES = [("#1a1a1a", "-"), ("#0072b2", "-"), ("#d55e00", "-"), ("#6b6b6b", "--"), ("#6b6b6b", ":"), ("#cc79a7", "-.")]


def over_faces(values: Tensor) -> tuple[float, float, float]:
    """Mean over the faces that have a value, and its 95 % interval over faces, by Student's t.

    Args:
        values: (N,); NaN is left out. Where nothing is left, all three are NaN.

    Explained in: book/explain.ipynb
    """
    known = values[~values.isnan()].double().tolist()
    return mean_interval(known or [float("nan")])


def dots_by_method(
    ax: Axes, found: Mapping[str, Mapping[str, Tensor]], label: str, levels: Mapping[str, float] | None = None
) -> None:
    """One line a method, one mark a map: mean over faces and 95 % interval.

    Args:
        found: method -> map -> one value a face. A name may go on after a comma: ``"ll_fer, restored"``.
        label: of the horizontal axis.
        levels: name -> a value to compare with, a vertical line.

    Explained in: book/explain.ipynb
    """
    kinds = list(dict.fromkeys(kind for values in found.values() for kind in values))
    for y, (name, values) in enumerate(reversed(found.items())):
        colour = COLOURS[name.split(",")[0]]
        for k, kind in enumerate(kinds):
            if kind not in values:
                continue
            mean, low, high = over_faces(values[kind])
            at = y + 0.6 * ((len(kinds) - 1) / 2 - k) / len(kinds)
            ax.plot([low, high], [at, at], color=colour, lw=1.2)
            ax.plot(mean, at, _MARKS[k], color=colour, ms=6)
    for (name, value), dash in zip((levels or {}).items(), ("--", ":"), strict=False):
        ax.axvline(value, color="#1a1a1a", lw=1.2, ls=dash, label=name)
    for mark, kind in zip(_MARKS, kinds, strict=False):
        ax.plot([], [], mark, color="#4d4d4d", label=kind)
    ax.set_yticks(range(len(found)), list(found)[::-1])
    ax.set(xlabel=label, ylim=(-0.6, len(found) - 0.4))
    ax.legend(frameon=False, fontsize=9, loc="center left", bbox_to_anchor=(1.0, 0.5))


def replacement_curves(shares: Sequence[float], panels: Mapping[str, Mapping[str, Tensor]]) -> Figure:
    """How sure a network stays while pixels are replaced: one panel a way of replacing, one line an order, means over faces.

    Args:
        shares: of the pixels that are replaced.
        panels: title -> order -> (N, len(shares)); faces of NaN are left out.

    Explained in: book/explain.ipynb
    """
    figure, axes = plt.subplots(1, len(panels), figsize=(7.2, 3.9), sharey=True, squeeze=False)
    for ax, (title, orders) in zip(axes[0], panels.items(), strict=True):
        for (name, curve), (colour, dash), mark in zip(orders.items(), _LINES, _MARKS, strict=False):
            x = [100 * share for share in shares]
            ax.plot(x, 100 * curve.nanmean(0), color=colour, ls=dash, marker=mark, ms=4, label=name)
        ax.set(title=title, xlabel="pixels replaced (%)", ylim=(0, 100))
    axes[0, 0].set_ylabel("probability of the answer (%)")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), frameon=False, fontsize=9, loc="outside lower center", ncols=3)
    return figure


def forgetting(parts: Sequence[str], found: Mapping[str, Sequence[float]], level: float, name: str) -> Axes:
    """Likeness of the maps to those of the trained network, while ever more parts have random weights.

    Args:
        parts: their names, in the order of forgetting.
        found: map -> one value a part.
        level, name: a likeness to compare with.

    Explained in: book/explain.ipynb
    """
    ax = plt.subplots()[1]
    for (kind, values), (colour, dash), mark in zip(found.items(), _LINES, _MARKS, strict=False):
        ax.plot(range(len(values) + 1), [1, *values], color=colour, ls=dash, marker=mark, label=kind)
    ax.axhline(level, color="#6b6b6b", lw=1.2, ls="--", label=name)
    ax.axhline(0, color="#1a1a1a", lw=0.8)
    ax.set_xticks(range(len(parts) + 1), ["as trained", *(f"+ {part}" if k else part for k, part in enumerate(parts))])
    ax.set(ylim=(-0.5, 1.05), xlabel="parts with random weights", ylabel="agreement with the trained\nnetwork's maps (Spearman)")
    ax.legend(frameon=False, fontsize=9)
    return ax


def difference_sentence(first: Tensor, second: Tensor, names: tuple[str, str], unit: str, factor: float = 100) -> str:
    """Two measurements of the same faces in words, whichever way they differ; of one trained network each.

    Args:
        first, second: (N,), paired; faces without one of them are left out.
        names: of the two; unit: what a number is; factor: that the values are multiplied by.

    Explained in: book/explain.ipynb
    """
    known = ~(first - second).isnan()
    if known.sum() < 2:
        return f"{names[0]} and {names[1]}: too few faces of this run have both."
    one, other = (factor * x[known].mean() for x in (first, second))
    gap, low, high = over_faces(factor * (first - second))
    nearest = low if low > 0 else -high if high < 0 else 0.0  # the end of the interval that is nearest to zero
    digits = next((d for d in range(4) if round(nearest, d)), None)  # as few as tell it from zero
    side = "no clear difference" if digits is None else "more" if low > 0 else "less"
    gap, low, high = (f"{x:+z.{digits or 0}f}" for x in (gap, low, high))
    one, other = (f"{x:z.{digits or 0}f}" for x in (one, other))
    return f"{names[0]} {one}, {names[1]} {other} {unit}: {side} ({gap} [{low}, {high}], {int(known.sum())} faces)."
