"""What the chapter on cross-layer contrast draws: figures stage by stage, and tables of shares as colours."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from fer_lib.record import Record
from fer_lib.restoration import over_seeds
from fer_lib.show import COLOURS, say_if_empty
from fer_lib.versus import gain

# A gradient is in nats per unit of activation; small as it is, the chapter prints thousandths.
PULL_UNIT = "10⁻³ nats per unit of activation"

_GREYS = [("#1a1a1a", "s", "--"), ("#6b6b6b", "^", "-."), ("#9a9a9a", "D", ":"), ("#1a1a1a", "v", "-")]
_GREYS += [("#6b6b6b", "P", "--"), ("#9a9a9a", "X", "-")]


def stage_lines(
    ax: Axes,
    records: Sequence[Record],
    lines: Mapping[str, tuple[str, str]],
    main: str,
    stages: Sequence[int],
    against: str = "",
    scale: float = 1.0,
) -> None:
    """Figures of rows at each stage, mean over seeds with 95 % intervals; ``main`` in the method's colour.

    Args:
        lines: legend -> (row, the figure's name with ``{}`` for the stage, see :func:`fer_lib.record.figure_of`).
        against: a row: drawn is then what each other line's row has more than it, over common seeds.
        scale: by which the figures are multiplied.

    Explained in: book/clcl.ipynb
    """
    drawn = False
    for i, (label, (row, name)) in enumerate(lines.items()):
        if row == against:
            continue
        names = [name.format(k) for k in stages]
        points = [gain(records, against, row, n) if against else over_seeds(records, row, n) for n in names]
        if all(points):
            drawn, points = True, [tuple(scale * x for x in point) for point in points]
            arms = np.nan_to_num([[m - low for m, low, _ in points], [high - m for m, _, high in points]])
            style, means = _style(label, main, i), [p[0] for p in points]
            ax.plot(stages, means, label=label, ms=5, **style)
            # Only the intervals stand aside, so that they can be told apart.
            aside = np.array(stages) + 0.05 * (i - (len(lines) - 1) / 2)
            ax.errorbar(aside, means, arms, fmt="none", elinewidth=1, ecolor=style["color"])
    if against:
        ax.axhline(0, color="black", lw=1, ls=":")
    ax.set(xticks=stages, xlabel="stage")
    _finish(ax, drawn)


def beyond_strangers(records: Sequence[Record]) -> list[Record]:
    """The records, each with ``beyond_{j}``: how much more channel clusters at stage j agree with their own face than a stranger's.

    Explained in: book/clcl.ipynb
    """

    def more(figures: dict) -> dict:
        pairs = {j: [figures.get(f"align_channels_{kind}_{j}") for kind in ("own", "stranger")] for j in (1, 2, 3)}
        return {f"beyond_{j}": own - other for j, (own, other) in pairs.items() if own is not None and other is not None}

    return [r.model_copy(update={"mechanism": r.mechanism | more(r.mechanism)}) for r in records]


def smallest_rank(records: Sequence[Record], rows: Sequence[str], what: str) -> str:
    """The smallest effective rank of the codes of ``what``, ``channels`` or ``faces``, in any run of the rows, and where it is.

    Explained in: book/clcl.ipynb
    """
    ranks = [(r.mechanism[f"rank_{what}_{j}"], r.row, r.seed, j) for r in records if r.row in rows for j in (1, 2, 3, 4) if f"rank_{what}_{j}" in r.mechanism]
    if not ranks:
        return f"{what}: not recorded yet"
    rank, row, seed, j = min(ranks)
    return f"{what} {rank:.3g} ({row}, seed {seed}, stage {j})"


def agreement_curves(series: Mapping[str, Sequence[Mapping[str, float]]], main: str) -> Figure:
    """Cosine of channel clusters against epochs: with their own centroids, with wrong ones, and own above stranger.

    Args:
        series: legend -> for each epoch the cosines ``own``, ``shuffled`` and ``stranger``.

    Explained in: book/clcl.ipynb
    """
    figure, axes = plt.subplots(1, 3, figsize=(7.2, 3.4))
    for i, (label, epochs) in enumerate(series.items()):
        kinds = [[x["own"] for x in epochs], [x["shuffled"] for x in epochs], [x["own"] - x["stranger"] for x in epochs]]
        for ax, values in zip(axes, kinds, strict=True):
            ax.plot(values, label=label, ms=4, **_style(label, main, i))
    for ax, title in zip(axes, ("own", "shuffled", "own − stranger"), strict=True):
        ax.set(title=title, xlabel="epoch")
    axes[0].set_ylabel("cosine of channel clusters")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False, fontsize=9)
    return figure


def intensity_curves(series: Mapping[str, Sequence[Sequence[float]]], main: str) -> Figure:
    """Gradient at each stage against epochs, one panel a stage, on a logarithmic scale.

    Args:
        series: legend -> for each epoch the figures of the four stages; the first is before training.

    Explained in: book/clcl.ipynb
    """
    figure, axes = plt.subplots(1, 4, figsize=(7.2, 3.2), sharey=True)
    for j, ax in enumerate(axes):
        for i, (label, epochs) in enumerate(series.items()):
            values = [1000 * epoch[j] for epoch in epochs]
            ax.plot(range(len(values)), values, label=label, ms=4, **_style(label, main, i))
        ax.set(yscale="log", title=f"stage {j + 1}", xlabel="epoch")
        ax.yaxis.set_major_formatter("{x:g}")
    axes[0].set_ylabel(f"learning intensity\n({PULL_UNIT})")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False, fontsize=9)
    return figure


def share_table(ax: Axes, shares: Tensor, rows: Sequence[str], columns: Sequence[str], label: str) -> None:
    """Shares (R, C) in [0, 1] as colours, each with its percent.

    Explained in: book/clcl.ipynb
    """
    percent = 100 * shares.cpu().numpy()
    top = max(percent.max(), 50)
    picture = ax.imshow(percent, cmap="Greens", vmin=0, vmax=top, aspect="auto")
    ax.set(xticks=range(len(columns)), yticks=range(len(rows)))
    ax.set_xticklabels(columns)
    ax.set_yticklabels(rows)
    ax.grid(False)
    for row, column in np.ndindex(*percent.shape):
        colour = "white" if percent[row, column] > 0.6 * top else "black"
        ax.text(column, row, f"{percent[row, column]:.0f}", ha="center", va="center", color=colour, fontsize=9)
    ax.figure.colorbar(picture, ax=ax, label=label)


def _style(label: str, main: str, i: int) -> dict:
    if label == main:
        return {"color": COLOURS["clcl"], "marker": "o", "ls": "-", "lw": 2.4}
    colour, mark, dash = _GREYS[i % len(_GREYS)]
    return {"color": colour, "marker": mark, "ls": dash, "lw": 1.2}


def _finish(ax: Axes, drawn: bool) -> None:
    if drawn:
        ax.legend(frameon=False, fontsize=9, loc="upper center", bbox_to_anchor=(0.5, -0.18))
    say_if_empty(ax, drawn)
