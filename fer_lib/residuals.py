"""What the chapter on expression residuals draws: what is taken from a face, which segments speak, where points go."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from fer_lib.show import COLOURS


def removal_grid(rows: Mapping[str, Tensor], titles: Sequence[str], changes: Sequence[str]) -> Figure:
    """Faces and what is taken from them, one line a name, one column a person.

    Args:
        rows: name -> (N, 3, H, W), pictures in [0, 1].
        titles: one a column.
        changes: names of the rows that hold residuals instead, in [-1, 1]; their mean over the colours is drawn
            from purple (the face is darker than the neutral one) to orange (lighter), on one scale for all.

    Explained in: book/err_net.ipynb
    """
    count = len(titles)
    figure, axes = plt.subplots(len(rows), count, figsize=(7.2, 7.2 / (count + 0.7) * len(rows) + 0.4), squeeze=False)
    signed = {name: rows[name].mean(1) for name in changes}
    most = max([0.05, *(x.abs().flatten().quantile(0.995).item() for x in signed.values())])
    for line, (name, pictures) in zip(axes, rows.items(), strict=True):
        for ax, k in zip(line, range(count), strict=True):
            ax.set(xticks=[], yticks=[])
            ax.spines[:].set_visible(False)
            ax.grid(False)
            if name in signed:
                shown = ax.imshow(signed[name][k].cpu().numpy(), cmap="PuOr_r", vmin=-most, vmax=most)
            else:
                ax.imshow(pictures[k].clamp(0, 1).permute(1, 2, 0).cpu().numpy())
        line[0].set_ylabel(name, fontsize=9)
    for ax, title in zip(axes[0], titles, strict=True):
        ax.set_title(title, fontsize=9)
    if signed:
        bar = figure.colorbar(shown, ax=axes.ravel().tolist(), ticks=[-most, 0, most], shrink=0.6)
        bar.ax.set_yticklabels(["darker\nthan neutral", "as neutral", "lighter\nthan neutral"], fontsize=8)
    return figure


def length_matrix(lengths: Mapping[str, Sequence[float]], names: Sequence[str]) -> Axes:
    """Mean length of each segment (columns) for the faces of each true class (rows).

    Args:
        lengths: true class -> one length in [0, 1) a segment.
        names: of the segments.

    Explained in: book/err_net.ipynb
    """
    values = np.array(list(lengths.values()))
    ax = plt.subplots(figsize=(6.4, 0.45 * len(values) + 1.6))[1]
    picture = ax.imshow(values, cmap="Oranges", vmin=0, vmax=1, aspect="auto")
    ax.set(xticks=range(len(names)), yticks=range(len(lengths)), xlabel="segment", ylabel="true class")
    ax.set_xticklabels(names, rotation=45, ha="right", rotation_mode="anchor")
    ax.set_yticklabels(list(lengths))
    ax.grid(False)
    for row, column in np.ndindex(*values.shape):
        colour = "white" if values[row, column] > 0.6 else "black"
        ax.text(column, row, f"{values[row, column]:.2f}", ha="center", va="center", color=colour, fontsize=9)
    ax.figure.colorbar(picture, ax=ax, label="mean length")
    return ax


def motion_arrows(faces: Tensor, points: Tensor, moves: Mapping[str, Tensor], titles: Sequence[str], times: float = 1.0) -> Figure:
    """Neutral faces with an arrow from each landmark to where the expression moves it; one line a name.

    Args:
        faces: (N, 3, H, W) in [0, 1]; points: (N, P, 2), their landmarks in pixels.
        moves: name -> (N, P, 2) in pixels; the first in the method's colour.
        times: by how much the arrows are lengthened.

    Explained in: book/err_net.ipynb
    """
    count, colours = len(titles), [COLOURS["err_net"], "#1a1a1a"]
    figure, axes = plt.subplots(len(moves), count, figsize=(7.2, 7.2 / count * len(moves) + 0.3), squeeze=False)
    for line, (name, move), colour in zip(axes, moves.items(), colours, strict=False):
        for k, ax in enumerate(line):
            ax.imshow(faces[k].permute(1, 2, 0).cpu().numpy(), alpha=0.55)
            (x, y), (u, v) = (pair[k].cpu().T.numpy() for pair in (points, times * move))
            ax.quiver(x, y, u, v, color=colour, angles="xy", scale_units="xy", scale=1, width=0.012, headwidth=3.5)
            ax.set(xticks=[], yticks=[])
            ax.spines[:].set_visible(False)
            ax.grid(False)
        line[0].set_ylabel(name, fontsize=10)
    for ax, title in zip(axes[0], titles, strict=True):
        ax.set_title(title, fontsize=9)
    return figure
