"""All methods side by side, from records alone: each row against its own partner; methods against one another only where they were trained alike."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from pandas.io.formats.style import Styler
from scipy.stats import t as student
from statsmodels.stats.multitest import multipletests

from fer_lib.evaluate import mean_interval
from fer_lib.record import Record, differences, seed_figures, summarize
from fer_lib.restoration import trained_with
from fer_lib.show import COLOURS, origin, percent_table
from fer_lib.versus import gain, gain_sentence, verdicts

TITLES = {"baseline": "Baseline", "ll_fer": "LL-FER", "sr_fer": "SR-FER", "clcl": "CLCL", "err_net": "ERR-Net", "lnl": "LNL"}


class Pair(NamedTuple):
    """Two rows, ``second`` of the method: what it has more than ``first``, and in a few words what that tells.

    Explained in: book/compare.ipynb
    """

    method: str
    first: str
    second: str
    tells: str


# For each condition, every method over its reference row, and over the controls that could explain a gain.
PAIRS: dict[str, tuple[Pair, ...]] = {
    "clean": (
        Pair("baseline", "R0", "R1", "baseline, no augmentation"),
        Pair("baseline", "R0", "R2", "baseline, smooth labels"),
        Pair("clcl", "B0", "B4", "CLCL over a plain head"),
        Pair("clcl", "B1", "B4", "CLCL's contrasts alone"),
        Pair("lnl", "N0", "N4", "LNL over a plain network"),
        Pair("err_net", "E0", "E5", "ERR-Net over its encoder"),
    ),
    "dark": (
        Pair("ll_fer", "A4", "A7", "LL-FER over pixels alone"),
        Pair("ll_fer", "A7-unguided", "A7", "LL-FER's guidance alone"),
        Pair("ll_fer", "A5", "A7", "LL-FER over late tuning"),
        Pair("ll_fer", "A3", "A7", "LL-FER over retraining"),
        Pair("ll_fer", "A5-stretch", "A7", "LL-FER over a stretch"),
    ),
    "small": (
        Pair("sr_fer", "S2", "S5", "SR-FER over pixels alone"),
        Pair("sr_fer", "S5-unguided", "S5", "SR-FER's guidance alone"),
        Pair("sr_fer", "S6", "S5", "SR-FER over a task loss"),
        Pair("sr_fer", "S8-finetune", "S5", "SR-FER over late tuning"),
        Pair("sr_fer", "S8-retrain", "S5", "SR-FER over retraining"),
    ),
    "another recognizer": (
        Pair("ll_fer", "A4-B4", "A7-B4", "LL-FER where CLCL reads"),
        Pair("ll_fer", "A7-unguided-B4", "A7-B4", "guidance, CLCL reads"),
        Pair("ll_fer", "A4-N4", "A7-N4", "LL-FER where LNL reads"),
        Pair("ll_fer", "A7-unguided-N4", "A7-N4", "guidance, LNL reads"),
        Pair("sr_fer", "S2-B4", "S5-B4", "SR-FER where CLCL reads"),
        Pair("sr_fer", "S5-unguided-B4", "S5-B4", "guidance, CLCL reads"),
        Pair("sr_fer", "S2-N4", "S5-N4", "SR-FER where LNL reads"),
        Pair("sr_fer", "S5-unguided-N4", "S5-N4", "guidance, LNL reads"),
    ),
    "inside a cascade": (
        Pair("ll_fer", "A7-B0", "A7-B4", "CLCL inside LL-FER"),
        Pair("ll_fer", "A7-N0", "A7-N4", "LNL inside LL-FER"),
        Pair("sr_fer", "S5-B0", "S5-B4", "CLCL inside SR-FER"),
        Pair("sr_fer", "S5-N0", "S5-N4", "LNL inside SR-FER"),
    ),
    "dark and small": (
        Pair("sr_fer", "S1-dark", "S2-dark", "to lighten while enlarging"),
        Pair("sr_fer", "S2-dark", "S5-dark", "SR-FER over pixels alone"),
        Pair("sr_fer", "S5-unguided-dark", "S5-dark", "SR-FER's guidance alone"),
        Pair("sr_fer", "S8-retrain-dark", "S5-dark", "SR-FER over retraining"),
    ),
}


# What was asked of photographs only: they have annotators; two methods were also trained with all of a baseline row's recipe; and of half the width more is left.
PHOTOGRAPHS = (
    Pair("baseline", "R0", "R3", "baseline, votes as target"),
    Pair("clcl", "R0", "B4-all", "CLCL, trained as the baseline"),
    Pair("lnl", "R0", "N4-all", "LNL, trained as the baseline"),
    Pair("clcl", "R4", "B4-votes", "CLCL, votes, 40 epochs"),
    Pair("lnl", "R4", "N4-votes", "LNL, votes, 40 epochs"),
    Pair("sr_fer", "S2x2", "S5x2", "SR-FER, half the width"),
    Pair("sr_fer", "S5-unguidedx2", "S5x2", "its guidance, half the width"),
    Pair("sr_fer", "S8-retrainx2", "S5x2", "over retraining, half the width"),
)


# Networks with a plain reference of the same budget, and the rows of both cascades that were built around them.
LEADS = (Pair("clcl", "B0", "B4", "CLCL"), Pair("lnl", "N0", "N4", "LNL"))
CASCADES = {"ll_fer": ("A1", "A4", "A7-unguided", "A7"), "sr_fer": ("S1", "S2", "S5-unguided", "S5")}


@dataclass(frozen=True)
class Effect:
    """Differences of a pair in accuracy, points by seed; see :func:`effects`.

    Explained in: book/compare.ipynb
    """

    pair: Pair
    each: Mapping[int, float]

    @property
    def interval(self) -> tuple[float, float, float]:
        """Mean and 95 % interval over the seeds; NaN where there are too few."""
        return mean_interval(list(self.each.values())) if self.each else (float("nan"),) * 3

    @property
    def side(self) -> int:
        """1 or -1 if the interval lies above or below zero, 0 if it includes zero or there is none."""
        _, low, high = self.interval
        return int(low > 0) - int(high < 0)

    @property
    def p_value(self) -> float:
        """Two-sided, of a mean so far from zero if there were no difference (Student's t); two seeds at least."""
        values = list(self.each.values())
        error = np.std(values, ddof=1) / len(values) ** 0.5
        return float(2 * student.sf(abs(np.mean(values)) / error, len(values) - 1)) if error else float(not any(values))

    @property
    def name(self) -> str:
        """``A7 − A4``."""
        return f"{self.pair.second} − {self.pair.first}"

    def __str__(self) -> str:
        title = f"{self.name} ({self.pair.tells})"
        if not self.each:
            return f"{title}: not recorded yet."
        mean, low, high = self.interval
        if len(self.each) < 2:
            return f"{title}: {mean:+z.1f} points of accuracy, one seed, so no interval."
        said = {1: "more", -1: "less", 0: "no clear difference"}[self.side]
        return f"{title}: {mean:+z.1f} points of accuracy, 95 % interval {low:+z.1f} to {high:+z.1f} over {len(self.each)} seeds: {said}."


def effects(records: Sequence[Record], pairs: Iterable[Pair]) -> list[Effect]:
    """The :class:`Effect` of every pair; empty where no seed of both rows is recorded.

    Explained in: book/compare.ipynb
    """
    return [Effect(p, differences(records, p.first, p.second)) for p in pairs]


def over_faces(records: Sequence[Record], pair: Pair) -> float:
    """How far other faces could move a pair's mean difference to each side, in points: 95 %, normal, the common seeds held fixed.

    Explained in: book/compare.ipynb
    """
    first, second = ({r.seed: r.hits().float() for r in records if r.row == row} for row in (pair.first, pair.second))
    each = torch.stack([second[seed] - first[seed] for seed in sorted(first.keys() & second.keys())]).mean(0)
    return 100 * 1.96 * float(each.std() / len(each) ** 0.5)


def forest(shown: Sequence[Effect], limits: tuple[float, float], beside: Sequence[Effect] = ()) -> Axes:
    """A line an effect: mean and 95 % interval in the method's colour, every seed as a ring, their number, zero dashed.

    Args:
        limits: of the axis in points, so that several figures can share one scale.
        beside: the same pairs measured elsewhere; below each line, grey and thin, their mean as a square and its interval.

    Explained in: book/compare.ipynb
    """
    ax = plt.subplots(figsize=(4.6, 0.8 * max(len(shown), 1) + 0.7))[1]
    ax.axvline(0, color="black", lw=1.2, ls="--")
    elsewhere = {effect.pair: effect for effect in beside}
    for y, effect in enumerate(reversed(shown)):
        colour = COLOURS[effect.pair.method]
        _bar(ax, effect, y, color=colour, lw=3, capsize=6, capthick=2, marker="D", ms=5.5, mec="white", mew=0.7)
        if effect.pair in elsewhere:
            _bar(ax, elsewhere[effect.pair], y - 0.2, color="#757575", lw=1.2, capsize=3, marker="s", ms=4)
        if effect.each:
            ax.plot(list(effect.each.values()), [y + 0.22] * len(effect.each), "o", mfc="none", color="#4d4d4d", ms=5)
        seeds = f"n = {len(effect.each)}" if effect.each else "no record yet"
        where = {"transform": ax.get_yaxis_transform(), "fontsize": 10, "va": "center"}
        ground = {"facecolor": "white", "edgecolor": "none", "pad": 1}
        ax.text(0.01, y + 0.48, f"{effect.name}: {effect.pair.tells}, {seeds}", **where, bbox=ground)
    ax.grid(False, axis="y")
    ax.set(xlim=limits, ylim=(-0.4, max(len(shown), 1) - 0.3), xlabel="difference in accuracy (points)", yticks=[])
    return ax


def _bar(ax: Axes, effect: Effect, y: float, *, color: str, lw: float, capsize: float, capthick: float = 1.2, **point) -> None:
    mean, low, high = effect.interval
    if len(effect.each) > 1:
        ax.errorbar(mean, y, xerr=[[mean - low], [high - mean]], color=color, lw=lw, capsize=capsize, capthick=capthick)
    if effect.each:
        ax.plot(mean, y, color=color, ls="", **point)


def span(shown: Iterable[Effect]) -> tuple[float, float]:
    """Limits of an axis that holds zero and every interval and ring, with a little room.

    Explained in: book/compare.ipynb
    """
    ends = [x for e in shown for x in (*e.each.values(), *e.interval) if not np.isnan(x)]
    low, high = min(ends, default=-10), max(ends, default=10)
    room = 0.05 * max(high - low, 1)
    return min(low, 0) - room, max(high, 0) + room


def beside_plain(records: Sequence[Record], plain: str, row: str) -> tuple[list[Styler], list[str]]:
    """A method's row on photographs beside the baseline's row with the same recipe: their table, and in sentences how they differ.

    Returns:
        The table in a list, empty without records, for ``display(*tables)``; the sentences for :func:`fer_lib.show.told`.

    Explained in: book/clcl.ipynb
    """
    both = [r for r in records if r.row in (plain, row) and (r.profile, r.split) == ("laptop", "val")]
    recall = [gain_sentence(both, plain, row, "macro_recall", "points of macro recall")] * (gain(both, plain, row, "macro_recall") is not None)
    said = [verdicts(both, [(plain, row)]), *recall, origin(both)]
    if not both:
        return [], said
    learned = ", votes as target" * all(r.parameters["target"] == "votes" for r in both)
    caption = f"FERPlus: {trained_with(both)}{learned}. Clear: faces with a clear majority only. Seeds as listed; an interval needs two."
    metrics = ("accuracy", "accuracy_clear", "macro_recall")
    return [percent_table(summarize(both, metrics).drop(columns=["method"]), caption, metrics)], said


def inside(records: Sequence[Record], caption: str) -> Styler:
    """Accuracy of each recognizer by itself and inside both cascades, percent: mean over seeds, half of the 95 % interval.

    Explained in: book/compare.ipynb
    """
    networks = {row: lead.method for lead in LEADS for row in (lead.first, lead.second)}
    lines = [{"row": "by itself, clear", **{name: _reached(records, method, name) for name, method in networks.items()}}]
    for cascade, rows in CASCADES.items():
        lines += [{"row": row, **{name: _reached(records, cascade, f"{row}-{name}") for name in networks}} for row in rows]
    return pd.DataFrame(lines).style.hide(axis="index").set_caption(caption)


def lead_changes(records: Sequence[Record]) -> list[str]:
    """Sentences: what a network has more than its plain reference on clear pictures, inside each cascade, and how that differs, by seed.

    Explained in: book/compare.ipynb
    """
    said = []
    for lead in LEADS:
        clear = differences([r for r in records if r.method == lead.method], lead.first, lead.second)
        for method, (*_, whole) in CASCADES.items():
            within = differences([r for r in records if r.method == method], f"{whole}-{lead.first}", f"{whole}-{lead.second}")
            common, title = sorted(clear.keys() & within.keys()), f"{lead.tells} inside {TITLES[method]}"
            if len(common) < 2:
                said.append(f"{title}: not recorded yet.")
                continue
            change = Effect(lead, {seed: within[seed] - clear[seed] for seed in common})
            (mean, low, high), verdict = change.interval, {1: "more", -1: "less", 0: "no clear change"}[change.side]
            a, b = (np.mean([x[seed] for seed in common]) for x in (clear, within))
            said.append(f"{title}: {lead.second} − {lead.first} is {a:+z.1f} points on clear pictures and {b:+z.1f} here; the change is {mean:+z.1f}, 95 % interval {low:+z.1f} to {high:+z.1f}: {verdict}.")
    return said


def _reached(records: Sequence[Record], method: str, row: str) -> str:
    """``62.1 ± 3.4``."""
    values = list(seed_figures([r for r in records if r.method == method], row, "accuracy").values())
    if len(values) < 2:
        return f"{values[0]:.1f}" if values else "–"
    mean, low, high = mean_interval(values)
    return f"{mean:.1f} ± {(high - low) / 2:.1f}"


def by_chance(shown: Sequence[Effect]) -> str:
    """How many intervals there are, how many would leave out zero by chance, how many do, and which outlast Holm's correction.

    Explained in: book/compare.ipynb
    """
    drawn = [e for e in shown if len(e.each) > 1]
    if not drawn:
        return "No interval can be drawn yet: no pair has two common seeds."
    more, less = ([e.name for e in drawn if e.side == side] for side in (1, -1))
    lasting = [e.name for e, keeps in zip(drawn, multipletests([e.p_value for e in drawn], method="holm")[0], strict=True) if keeps]
    return (
        f"{len(drawn)} intervals are drawn. If no pair differed in truth, about {0.05 * len(drawn):.1f} of them would still leave out zero. "
        f"Zero is left out by {len(more) + len(less)}: {len(more)} above ({', '.join(more) or 'none'}) and {len(less)} below ({', '.join(less) or 'none'}). "
        f"What remains after Holm's correction for {len(drawn)} questions: {', '.join(lasting) or 'nothing'}."
    )
