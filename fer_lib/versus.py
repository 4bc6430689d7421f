"""One row against another: the difference over seeds with its interval, and a paired test for each seed."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

import torch

from fer_lib.errors import FerError
from fer_lib.evaluate import PairedTest, mean_interval, paired_test
from fer_lib.record import EVALUATED, RESULTS, Record, by_seed, differences

_HEAD = "| left row − right row | points of accuracy [95 % interval] | right in the left row alone : in the right row alone, by seed (p) | reading |\n|---|---|---|---|"


class Versus(NamedTuple):
    """What a second row has more than a first.

    Attributes:
        mean, low, high: points of accuracy, and the 95 % interval over common seeds; NaN of a single seed.
        tests: for each common seed, over the faces of all its folds.
        alike: whether all runs were made in the same precision.

    Explained in: book/ll_fer.ipynb
    """

    mean: float
    low: float
    high: float
    tests: list[PairedTest]
    alike: bool = True

    @property
    def reading(self) -> str:
        """``clear`` where the interval leaves out zero and every seed's test agrees; else what speaks for a difference."""
        return self._reading + ", in two precisions" * (not self.alike)

    @property
    def _reading(self) -> str:
        if len(self.tests) < 2:
            return "one seed"
        apart = self.low > 0 or self.high < 0
        sides = {(t.p_value < 0.05) * (1 if t.only_second > t.only_first else -1) for t in self.tests}
        agree = len(sides) == 1 and 0 not in sides
        return "**clear**" if apart and agree else "interval alone" if apart else "tests alone" if agree else "not clear"


def versus(records: Sequence[Record], first: str, second: str) -> Versus:
    """Row ``second`` against row ``first``; folds of a seed count once with their mean.

    Raises:
        FerError: if the records cannot be compared: other faces, no common seed, or two
            runs of one row, seed and fold.

    Explained in: book/ll_fer.ipynb
    """
    runs = {row: by_seed(r for r in records if r.row == row) for row in (first, second)}
    seeds = [seed for seed in runs[first] if seed in runs[second]]
    if not seeds or len({(r.dataset, r.profile, r.split) for r in records}) > 1:
        raise FerError(f"{second} against {first}: give records of one dataset and profile, with a common seed.")
    gains, tests, precisions = [], [], set()
    for seed in seeds:
        a, b = runs[first][seed], runs[second][seed]
        if [r.fingerprint.get(r.split) for r in a] != [r.fingerprint.get(r.split) for r in b]:
            raise FerError(f"{second} against {first}, seed {seed}: the two runs were measured on different faces.")
        gains.append(100 * (fmean(r.metrics["accuracy"] for r in b) - fmean(r.metrics["accuracy"] for r in a)))
        precisions |= {"bf16" in r.device for r in (*a, *b)}
        tests.append(paired_test(*(torch.cat([r.hits() for r in folds]) for folds in (a, b))))
    return Versus(*mean_interval(gains), tests, len(precisions) == 1)


def with_mirror(records: Sequence[Record], folder: Path = RESULTS / EVALUATED) -> list[Record]:
    """Of each record whose network ``evaluate --out`` measured into ``folder``: itself, then as row ``R0 twice`` with mirror images.

    The second holds :class:`fer_lib.trained.Mirrored`'s accuracies and predictions; intervals and ``chosen`` stay those of the first.
    Files of other datasets, splits and folds are passed over.

    Raises:
        FerError: if a file's predictions without mirror images are not the record's.

    Explained in: book/baseline.ipynb
    """
    pairs, files = [], [(path, json.loads(path.read_text(encoding="utf-8"))) for path in sorted(folder.glob("*.json"))]
    for once in records:
        faces = {"dataset": once.dataset, "split": once.split, "fingerprint": once.fingerprint.get(once.split)}
        for path, found in files:
            if any(getattr(once, name) != value for name, value in found["network"].items()) or any(found[name] != value for name, value in faces.items()):
                continue
            if differ := sum(a != b for a, b in zip(once.predicted, found["named"]["batch 64"], strict=True)):
                raise FerError(f"{path} names {differ} faces otherwise than the record of {once.method} {once.row}, seed {once.seed}: evaluate the weights of that run, where it ran.")
            figures = {"accuracy": "all", "accuracy_clear": "clear"}
            worth = {name: found["scores"][which]["with mirror"]["values"]["accuracy"] for name, which in figures.items() if which in found["scores"]}
            pairs += [once, once.model_copy(update={"row": f"{once.row} twice", "metrics": worth, "predicted": found["named"]["with mirror"]})]
    return pairs


def verdict(records: Sequence[Record], first: str, second: str) -> str:
    """:func:`versus` in one paragraph of Markdown, whichever way it falls; or that there is no common seed yet.

    Explained in: book/baseline.ipynb
    """
    if not _common(records, first, second):
        return f"**{second} against {first}:** not recorded yet."
    mean, low, high, tests, _ = versus(records, first, second)
    clear = "which leaves out zero" if low > 0 or high < 0 else "which includes zero: no clear difference"
    over = f"95 % interval {low:+z.1f} to {high:+z.1f} over {len(tests)} seeds, {clear}"
    listed = ", ".join(f"{t.only_first} to {t.only_second} (p = {t.p_value:.2g})" for t in tests)
    return (
        f"**{second} against {first}:** {mean:+z.1f} points of accuracy, "
        f"{over if len(tests) > 1 else 'one seed, so no interval'}. Faces that only {first}, to faces that only {second} gets right, "
        f"by seed: {listed}."
    )


def verdicts(records: Sequence[Record], pairs: Sequence[tuple[str, str]]) -> str:
    """A Markdown table with a line of :func:`versus` for each pair; a pair without a common seed says so below it.

    Explained in: book/ll_fer.ipynb
    """
    lines, absent = [_HEAD], []
    for first, second in pairs:
        if not _common(records, first, second):
            absent.append(f"**{second} against {first}:** not recorded yet.")
            continue
        found = versus(records, first, second)
        interval = f" [{found.low:+z.1f},\N{NO-BREAK SPACE}{found.high:+z.1f}]" if len(found.tests) > 1 else ""
        tests = ", ".join(f"{t.only_second}\N{NO-BREAK SPACE}:\N{NO-BREAK SPACE}{t.only_first} ({t.p_value:.2g})" for t in found.tests)
        lines.append(f"| {second} − {first} | {found.mean:+z.1f}{interval} | {tests} | {found.reading} |")
    return "\n\n".join(["\n".join(lines)] * (len(lines) > 1) + absent)


def _common(records: Sequence[Record], first: str, second: str) -> set[int]:
    seeds, others = ({r.seed for r in records if r.row == row} for row in (first, second))
    return seeds & others


def gain(records: Sequence[Record], first: str, second: str, name: str) -> tuple[float, float, float] | None:
    """What ``second`` has more than ``first``: mean and 95 % interval over common seeds; ``None`` below two.

    Explained in: book/ll_fer.ipynb
    """
    each = list(differences(records, first, second, name).values())
    return mean_interval(each) if len(each) > 1 else None


def gain_sentence(records: Sequence[Record], first: str, second: str, name: str, unit: str, digits: int = 2) -> str:
    """:func:`gain` in words, whichever way it falls; or that there is no record yet.

    Explained in: book/ll_fer.ipynb
    """
    found = gain(records, first, second, name)
    if found is None:
        return f"{second} against {first}: no two common seeds are recorded yet."
    mean, low, high = (f"{value:+z.{digits}f}" for value in found)
    side = "more" if found[1] > 0 else "less" if found[2] < 0 else "no clear difference: the interval includes zero"
    return f"{second} against {first}: {mean} {unit}, 95 % interval {low} to {high}: {side}."


def gain_table(records: Sequence[Record], pairs: Sequence[tuple[str, str]], figures: Mapping[str, str], digits: int = 2) -> str:
    """:func:`gain` of each pair (first, second) in each figure, as a Markdown table; bold where the interval leaves out zero.

    Args:
        figures: heading -> the figure's name.

    Returns:
        The table; below it, one sentence each, the pairs without two common seeds.

    Explained in: book/ll_fer.ipynb
    """

    def cell(found: tuple[float, float, float] | None) -> str:
        if found is None:
            return "–"
        mean, low, high = (f"{value:+z.{digits}f}" for value in found)
        mark = "**" * (found[1] > 0 or found[2] < 0)
        return f"{mark}{mean}{mark} [{low},\N{NO-BREAK SPACE}{high}]"

    lines, absent = [f"| | {' | '.join(figures)} |", "|---" * (len(figures) + 1) + "|"], []
    for first, second in pairs:
        found = [gain(records, first, second, name) for name in figures.values()]
        if any(found):
            lines.append(f"| {second} − {first} | {' | '.join(map(cell, found))} |")
        else:
            absent.append(f"**{second} against {first}:** no two common seeds are recorded yet.")
    return "\n\n".join(["\n".join(lines)] * (len(lines) > 2) + absent)


def gain_reading(records: Sequence[Record], first: str, second: str, figures: Mapping[str, str]) -> str:
    """In one sentence, in which of the figures ``second`` has more than ``first``, in which less, by intervals that leave out zero.

    Args:
        figures: as for :func:`gain_table`.

    Explained in: book/clcl.ipynb
    """
    found = {title: gain(records, first, second, name) for title, name in figures.items()}
    if None in found.values():
        return f"{second} against {first}: not recorded yet."
    more, less = [t for t, (_, low, _) in found.items() if low > 0], [t for t, (_, _, high) in found.items() if high < 0]
    sides = [f"{word} at {', '.join(titles)}" for word, titles in (("more", more), ("less", less)) if titles]
    rest = ("; elsewhere no clear difference" if sides else "no clear difference anywhere") if len(more) + len(less) < len(found) else ""
    return f"{second} against {first}: {' and '.join(sides)}{rest}."
