"""What the chapters on restorers compare and draw: rows over seeds, pixels against recognition, the recognizer's wishes."""

from collections.abc import Callable, Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from adjustText import adjust_text
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from pandas.io.formats.style import Styler
from torch import Tensor

from fer_lib.evaluate import mean_interval
from fer_lib.record import Record, differences, seed_figures
from fer_lib.show import COLOURS, say_if_empty
from fer_lib.versus import gain

# What is not the row in question is grey; marker and dash tell the rows apart.
_OTHERS = [("#1a1a1a", "s", "-"), ("#6b6b6b", "^", "--"), ("#9a9a9a", "D", "-."), ("#1a1a1a", "v", ":")]
_OTHERS += [("#6b6b6b", "P", "-"), ("#9a9a9a", "X", "--"), ("#1a1a1a", "<", "-."), ("#6b6b6b", ">", ":")]


def over_seeds(records: Sequence[Record], row: str, name: str) -> tuple[float, float, float] | None:
    """Mean over a row's seeds and its 95 % interval, or ``None`` where no record has the figure.

    Explained in: book/ll_fer.ipynb
    """
    found = seed_figures(records, row, name)
    return mean_interval(list(found.values())) if found else None


def missing(records: Sequence[Record], rows: Sequence[str]) -> str:
    """A sentence that names the rows without any record, "" where all have one.

    Explained in: book/ll_fer.ipynb
    """
    absent = [row for row in rows if row not in {r.row for r in records}]
    return f"No record yet: {', '.join(absent)}." if absent else ""


def order(records: Sequence[Record], rows: Sequence[str], name: str = "accuracy") -> str:
    """Whether the rows' means rise in the order given, in a sentence that names every place where they do not.

    Explained in: book/ll_fer.ipynb
    """
    means = {row: found[0] for row in rows if (found := over_seeds(records, row, name))}
    if len(means) < len(rows):
        return f"The order that the claim would give, {' < '.join(rows)}: not all of these rows are recorded yet."
    falls = [f"{b} is not above {a}" for a, b in zip(rows, rows[1:], strict=False) if means[b] <= means[a]]
    listed = ", ".join(f"{row} {mean:.1f} %" for row, mean in means.items())
    return f"The order that the claim would give is {' < '.join(rows)}; found {listed}: {'; '.join(falls) or 'the order holds in the means'}."


def trained_with(records: Sequence[Record]) -> str:
    """What the trained rows of one dataset have in common, if any learn, and on how many faces all were measured; for a caption.

    Explained in: book/ll_fer.ipynb
    """
    longest = max(records, key=lambda r: r.parameters["epochs"])  # rows without anything to learn run one epoch
    p, images = longest.parameters, longest.parameters["train_images"]
    faces = f"{images:,} training faces" if images else "all training faces"
    learned = f"{faces}, {p['epochs']} epochs" if p["epochs"] > 1 else "rows without training of their own"
    return f"{p['backbone']}, {p['size']} px, {learned}, {len(longest.labels):,} faces measured"


def share_kept(records: Sequence[Record], first: str, middle: str, second: str) -> str:
    """How much of the gain of ``second`` over ``first`` the row ``middle`` has, too, in a sentence.

    Explained in: book/ll_fer.ipynb
    """
    whole, part, rest = (gain(records, a, b, "accuracy") for a, b in ((first, second), (first, middle), (middle, second)))
    if whole is None or part is None or rest is None:
        return f"{second} against {first}, and {middle} between them: no two common seeds are recorded yet."
    if whole[1] <= 0:
        low, high = (f"{x:+.1f}" for x in whole[1:])
        return f"{second} has no clear gain over {first} ({whole[0]:+.1f} [{low}, {high}]): there is nothing to share out."
    return (
        f"{second} has {whole[0]:+.1f} points of accuracy over {first}. {middle} has {part[0]:+.1f} of them, too; "
        f"what is left for the difference between {middle} and {second} is {rest[0]:+.1f} [{rest[1]:+.1f}, {rest[2]:+.1f}]."
    )


def still_learning(records: Sequence[Record], rows: Sequence[str], term: str) -> str:
    """By how much a loss term of some rows still fell in their last epoch, seed by seed, in a sentence.

    Args:
        term: as the history names it, ``restorer/pixels``.

    Explained in: book/ll_fer.ipynb
    """
    said = []
    for row in rows:
        ends = [[epoch[term] for epoch in r.history[-2:] if term in epoch] for r in records if r.row == row]
        own = [f"{100 * (1 - pair[1] / pair[0]):.1f}" for pair in ends if len(pair) == 2]
        said += [f"{row} {', '.join(own)}"] * bool(own)
    rate = "The learning rate falls to zero by then, so this does not tell what a longer training would bring."
    return f"In the last epoch the training loss `{term.split('/')[1]}` still fell by so many percent, seed by seed: {'; '.join(said)}. {rate}" if said else ""


def mechanism_table(
    records: Sequence[Record], rows: Sequence[str], columns: Mapping[str, tuple[str, int]], caption: str,
    within: tuple[float, float] = (-np.inf, np.inf),
) -> Styler:  # fmt: skip
    """Mean and 95 % interval of figures, one line a row that has a record.

    Args:
        columns: heading -> the figure's name (:func:`fer_lib.record.figure_of`) and its digits.
        within: what the figures can be at all; intervals are cut there.

    Explained in: book/ll_fer.ipynb
    """
    lines = []
    for row in rows:
        seeds = len({r.seed for r in records if r.row == row})
        cells = {title: _text(over_seeds(records, row, name), digits, within) for title, (name, digits) in columns.items()}
        lines += [{"row": row, "seeds": seeds} | cells] if seeds else []
    table = pd.DataFrame(lines, columns=["row", "seeds", *columns])
    return table.style.hide(axis="index").set_caption(caption if lines else f"{caption} No record yet.")


def condition_curves(
    records: Sequence[Record], panels: Mapping[str, Sequence[str]], conditions: Mapping[str, str], main: str
) -> Figure:
    """Accuracy against how bad the picture is, with 95 % intervals over seeds; chance dotted, ``main`` in the method's colour.

    Args:
        panels: title -> rows in it.
        conditions: the degradation as the record names it -> its name on the axis, from good to bad.

    Explained in: book/ll_fer.ipynb
    """

    def curve(ax: Axes, title: str, row: str, style: dict, shift: float) -> None:
        points = [over_seeds(records, row, f"accuracy/{condition}") for condition in conditions]
        if all(points):
            _line(ax, np.arange(len(points)), points, shift, label=row, **style)

    figure = _panels(records, panels, main, curve)
    for ax in figure.axes:
        ax.set_xticks(range(len(conditions)), list(conditions.values()))
        if records:
            ax.axhline(100 / len(records[0].confusion), color="black", lw=1, ls=":")
            ax.annotate("chance", (0.01, 100 / len(records[0].confusion)), xycoords=("axes fraction", "data"), va="bottom", fontsize=9)
    figure.axes[0].set_ylabel("accuracy (%)")
    return figure


def stage_curves(
    records: Sequence[Record], kinds: Mapping[str, str], rows: Sequence[str], main: str, before: str
) -> Figure:
    """Distance from the clean image in the eyes of the judge, at each stage, as a share of the degraded image's.

    Args:
        kinds: title -> figure, ``feature_distance`` or ``attention_distance``.
        before: name of the level 1, that of the degraded image.

    Explained in: book/ll_fer.ipynb
    """
    stages = range(1, 5)

    def curve(ax: Axes, title: str, row: str, style: dict, shift: float) -> None:
        names = [[f"{kinds[title]}_{k}_{version}" for version in ("degraded", "restored")] for k in stages]
        pairs = [[seed_figures(records, row, name) for name in both] for both in names]
        if all(restored for _, restored in pairs):
            shares = [mean_interval([after[s] / first[s] for s in after]) for first, after in pairs]
            _line(ax, np.array(stages), shares, shift, label=row, **style)

    figure = _panels(records, dict.fromkeys(kinds, rows), main, curve)
    for ax in figure.axes:
        ax.axhline(1, color="black", lw=1, ls=":")
        ax.annotate(before, (4.15, 1), ha="right", va="bottom", fontsize=9)
        ax.set(xticks=stages, xlabel="stage of the judge")
    figure.axes[0].set_ylabel("distance to the undamaged image\n(share of the damaged one's)")
    return figure


def tradeoff(records: Sequence[Record], groups: Mapping[str, Sequence[str]], ceiling: str = "") -> Axes:
    """PSNR of the restored images against accuracy, one point a row, with 95 % intervals over seeds both ways.

    Args:
        groups: name in the legend -> its rows; the last group has the method's colour.
        ceiling: a row drawn as a level, "" for none.

    Explained in: book/ll_fer.ipynb
    """
    ax, names, places = plt.subplots(figsize=(7.2, 4.2))[1], [], []
    for (label, rows), (colour, mark, _) in zip(groups.items(), _OTHERS, strict=False):
        if label == list(groups)[-1]:
            colour, mark = _colour(records), "o"
        for row in rows:
            x, y = (over_seeds(records, row, name) for name in ("psnr_restored", "accuracy"))
            if x and y:
                ax.errorbar(x[0], y[0], _arms([y]), _arms([x]), fmt=mark, color=colour, ms=7, lw=1, label=label)
                names.append(ax.text(x[0], y[0], row, fontsize=9))
                places.append((x[0], y[0]))
    top = over_seeds(records, ceiling, "accuracy") if ceiling else None
    if top:
        ax.axhline(top[0], color="black", lw=1, ls="--", label=f"{ceiling}: undamaged faces")
    ax.set(xlabel="PSNR of the restored image (dB)", ylabel="accuracy (%)")
    if names:
        arrows = {"arrowstyle": "-", "color": "#6b6b6b", "lw": 0.6}
        adjust_text(names, *zip(*places, strict=True), ax=ax, expand=(1.15, 1.5), iter_lim=300, arrowprops=arrows)
    _legend(ax)
    return ax


def gains(records: Sequence[Record], pairs: Sequence[tuple[str, str]], name: str, label: str) -> Axes:
    """:func:`gain` of each pair (first, second) as a dot with its interval, and every seed as a small ring.

    Explained in: book/ll_fer.ipynb
    """
    ax = plt.subplots(figsize=(7.2, 0.6 * len(pairs) + 1))[1]
    for y, (first, second) in enumerate(reversed(pairs)):
        found = gain(records, first, second, name)
        if found:
            each = list(differences(records, first, second, name).values())
            ax.plot(each, [y + 0.18] * len(each), "o", mfc="none", color="#6b6b6b", ms=5)
            ax.plot(found[1:], [y, y], color=_colour(records), lw=2)
            ax.plot(found[0], y, "o", color=_colour(records))
    ax.axvline(0, color="black", lw=1, ls="--")
    ax.set(yticks=range(len(pairs)), xlabel=label, ylim=(-0.6, len(pairs) - 0.4))
    ax.set_yticklabels([f"{second} − {first}" for first, second in reversed(pairs)])
    say_if_empty(ax, any(gain(records, *pair, name) for pair in pairs))
    return ax


def signed_maps(images: Tensor, maps: Tensor, titles: Sequence[str], rows: tuple[str, str], ends: tuple[str, str]) -> Figure:
    """Faces above, maps from -1 (purple) to 1 (orange) below, and the bar that says what the colours mean.

    Args:
        images: (N, 3, H, W) in [0, 1]; maps: (N, H, W).
        ends: what -1 and 1 mean.

    Explained in: book/ll_fer.ipynb
    """
    figure, axes = plt.subplots(2, len(images), figsize=(7.2, 14.4 / (len(images) + 0.8) + 0.4), squeeze=False)
    for ax in axes.flat:
        ax.set(xticks=[], yticks=[])
        ax.spines[:].set_visible(False)
        ax.grid(False)
    for k, title in enumerate(titles):
        axes[0, k].imshow(images[k].permute(1, 2, 0).cpu().numpy(), vmin=0, vmax=1)
        axes[0, k].set_title(title, fontsize=9)
        picture = axes[1, k].imshow(maps[k].cpu().numpy(), cmap="PuOr_r", vmin=-1, vmax=1)
    for ax, name in zip(axes[:, 0], rows, strict=True):
        ax.set_ylabel(name, fontsize=10)
    bar = figure.colorbar(picture, ax=axes[1].tolist(), ticks=[-1, 0, 1], shrink=0.9)
    bar.ax.set_yticklabels([ends[0], "as it is", ends[1]], fontsize=9)
    return figure


def _text(found: tuple[float, float, float] | None, digits: int, within: tuple[float, float]) -> str:
    if found is None:
        return "–"
    mean, low, high = (f"{value:.{digits}f}" for value in (found[0], *np.clip(found[1:], *within)))
    return mean if np.isnan(found[1]) else f"{mean} [{low},\N{NO-BREAK SPACE}{high}]"


def _panels(records: Sequence[Record], panels: Mapping[str, Sequence[str]], main: str, draw: Callable) -> Figure:
    """One panel a title, side by side; ``draw`` puts each of its rows there, a little aside of the others."""
    figure, axes = plt.subplots(1, len(panels), figsize=(7.2, 4.4), sharey=True, squeeze=False)
    for ax, (title, rows) in zip(axes[0], panels.items(), strict=True):
        others = iter(_OTHERS)
        for i, row in enumerate(rows):
            own = (_colour(records), "o", "-") if row == main else next(others)
            style = dict(zip(("color", "marker", "ls"), own, strict=True)) | {"lw": 2.4 if row == main else 1.2}
            draw(ax, title, row, style, 0.04 * (i - (len(rows) - 1) / 2))
        ax.set_title(title)
        _legend(ax, 2)
    return figure


def _colour(records: Sequence[Record]) -> str:
    return COLOURS[records[0].method] if records else "black"


def _line(ax: Axes, x: np.ndarray, points: Sequence[tuple[float, float, float]], shift: float, **style) -> None:
    """A line through the means where they are; only the intervals stand aside, so that they can be told apart."""
    means = [point[0] for point in points]
    ax.plot(x, means, ms=5, **style)
    ax.errorbar(x + shift, means, _arms(points), fmt="none", elinewidth=1, ecolor=style["color"])


def _arms(points: Sequence[tuple[float, float, float]]) -> list[list[float]]:
    """How far the intervals reach down and up."""
    return [np.nan_to_num([m - low for m, low, _ in points]).tolist(), np.nan_to_num([h - m for m, _, h in points]).tolist()]


def _legend(ax: Axes, columns: int = 3) -> None:
    """Each name once, below the panel; where nothing was drawn, a word on why."""
    named = dict(zip(*reversed(ax.get_legend_handles_labels()), strict=True))
    if named:
        where = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.18)}
        ax.legend(list(named.values()), list(named), frameon=False, fontsize=9, ncols=columns, **where)
    say_if_empty(ax, bool(named))

