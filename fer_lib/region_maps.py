"""What the chapter on region weights draws: maps of cells, shares against epochs, weights against causes."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from fer_lib.show import COLOURS, say_if_empty

_GREYS = [("#1a1a1a", "s", "--"), ("#6b6b6b", "^", "-."), ("#9a9a9a", "D", ":")]


def cell_maps(maps: Mapping[str, Sequence[float]], label: str, columns: int = 4, face: Tensor | None = None) -> Figure:
    """Maps of a square grid of cells side by side, each value written in its cell; one scale for all.

    Args:
        maps: title -> one value a cell, row by row.
        label: what a value is.
        face: (3, H, W) in [0, 1], drawn first, with the grid.

    Explained in: book/lnl.ipynb
    """
    count = len(maps) + (face is not None)
    columns = min(columns, count)
    lines = -(-count // columns)
    figure, axes = plt.subplots(lines, columns, figsize=(7.2, 7.2 / (columns + 0.6) * lines + 0.4), squeeze=False)
    side = round(len(next(iter(maps.values()))) ** 0.5)
    low, high = (f(0, *(f(values) for values in maps.values())) for f in (min, max))
    for ax in axes.flat:
        ax.set_axis_off()
    panels = iter(axes.flat)
    if face is not None:
        ax = next(panels)
        ax.imshow(face.permute(1, 2, 0).cpu().numpy(), extent=(-0.5, side - 0.5, side - 0.5, -0.5))
        for edge in np.arange(1, side) - 0.5:
            ax.axhline(edge, color="white", lw=1)
            ax.axvline(edge, color="white", lw=1)
        ax.set_title("the cells")
    for (title, values), ax in zip(maps.items(), panels, strict=False):
        grid = np.reshape(values, (side, side))
        picture = ax.imshow(grid, cmap="cividis", vmin=low, vmax=high)
        for (row, column), value in np.ndenumerate(grid):
            colour = "black" if value > (low + high) / 2 else "white"
            ax.text(column, row, f"{value:.1f}", ha="center", va="center", color=colour, fontsize=32 / side)
        ax.set_title(title)
    figure.colorbar(picture, ax=axes.ravel().tolist(), label=label, shrink=0.8)
    return figure


def share_curves(
    panels: Mapping[str, Mapping[str, Sequence[Sequence[float]]]], even: Mapping[str, float], label: str
) -> Figure:
    """Shares of the weight against epochs: one panel a title, in it one line a training.

    Args:
        panels: title -> name -> one curve per seed, in [0, 1]; the first name has the method's colour.
        even: title -> the share that even weights have, a dashed level.
        label: of the vertical axis.

    Explained in: book/lnl.ipynb
    """
    figure, axes = plt.subplots(1, len(panels), figsize=(7.2, 3.6), sharey=True, squeeze=False)
    for ax, (title, names) in zip(axes[0], panels.items(), strict=True):
        styles = [(COLOURS["lnl"], "o", "-"), *_GREYS]
        for (name, curves), (colour, mark, dash) in zip(names.items(), styles, strict=False):
            for curve in curves:
                values = [100 * value for value in curve]
                ax.plot(range(len(values)), values, color=colour, marker=mark, ms=4, ls=dash, label=name)
        if title in even:
            ax.axhline(100 * even[title], color="black", lw=1, ls=(0, (1, 1)), label="even weights")
        named = dict(zip(*reversed(ax.get_legend_handles_labels()), strict=True))
        if named:
            ax.legend(list(named.values()), list(named), frameon=False, fontsize=9, loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=2)
        say_if_empty(ax, bool(named))
        ax.set(title=title, xlabel="epoch", ylim=(0, 100))
        ax.xaxis.get_major_locator().set_params(integer=True)
    axes[0, 0].set_ylabel(label)
    return figure


def against_faded(faded: Sequence[float], rivals: Mapping[str, Sequence[float]]) -> Figure:
    """For every cell, what is given to it against what covering it costs the true label; one panel a rival.

    Args:
        faded: log-probability lost, in nats, one a cell.
        rivals: name -> one value a cell, 1 where all cells get the same; the first has the method's colour.

    Explained in: book/lnl.ipynb
    """
    figure, axes = plt.subplots(1, len(rivals), sharey=True, squeeze=False)
    styles = [(COLOURS["lnl"], "o"), ("#6b6b6b", "s")]
    for ax, (name, values), (colour, mark) in zip(axes[0], rivals.items(), styles, strict=False):
        ax.plot(values, faded, mark, color=colour, ms=7, mec="white")
        ax.axvline(1, color="black", lw=1, ls="--")
        ax.set(title=name, xlabel="given to the cell (even: 1)", xlim=(0, 1.1 * max(1.2, *values)))
    axes[0, 0].set_ylabel("log-probability of the true label\nlost when it is covered (nats)")
    return figure


def emotion_bars(weight: Mapping[str, Sequence[float]], parts: Mapping[str, Sequence[int]]) -> Axes:
    """Share of the weight on parts of the face, one group of bars per emotion.

    Args:
        weight: emotion -> one weight a cell.
        parts: name -> its cells.

    Explained in: book/lnl.ipynb
    """
    ax = plt.subplots()[1]
    width, colours = 0.8 / len(parts), [COLOURS["lnl"], "#9a9a9a", "#1a1a1a"]
    for k, (name, cells) in enumerate(parts.items()):
        shares = [100 * sum(values[cell] for cell in cells) / sum(values) for values in weight.values()]
        x = np.arange(len(shares)) + (k - (len(parts) - 1) / 2) * width
        ax.bar(x, shares, width, color=colours[k], edgecolor="white", hatch=["", "//", ""][k], label=name)
    ax.set_xticks(range(len(weight)), list(weight), rotation=30, ha="right", rotation_mode="anchor")
    ax.set_ylabel("share of the weight (%)")
    ax.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=len(parts))
    return ax
