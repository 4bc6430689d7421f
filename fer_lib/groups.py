"""Is everybody read equally well? Recorded runs by traits of the drawn persons, of whom the truth is known."""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import NamedTuple

import torch
from matplotlib.axes import Axes
from torch import Tensor

from fer_lib.data.faces import make_faces, sample_people
from fer_lib.errors import FerError
from fer_lib.record import Record
from fer_lib.show import say_if_empty

# Trait of the generator -> names of the groups, from its low to its high values.
TRAITS: dict[str, tuple[str, ...]] = {
    "tone": ("lightest third", "middle third", "darkest third"),
    "age": ("youngest third", "middle third", "oldest third"),
    "male": ("female", "male"),
}
DRAWS = 1000


class Groups(NamedTuple):
    """Macro recall of groups of people, mean over the seeds of a row, in percent.

    Attributes:
        recall: name of the group -> (value, low, high).
        gap: the last group's less the first's, with its interval.

    Explained in: book/care.ipynb
    """

    recall: dict[str, tuple[float, float, float]]
    gap: tuple[float, float, float]


def group_of(trait: str, people: Tensor) -> Tensor:
    """The group of each drawn person: equal shares of the persons by a trait, or the two values of ``male``.

    Args:
        people: int64 (N,), numbers of persons.

    Returns:
        int64 (N,), places in ``TRAITS[trait]``.

    Raises:
        FerError: for an unknown trait.

    Explained in: book/care.ipynb
    """
    if trait not in TRAITS:
        raise FerError(f"There is no trait '{trait}': choose one of {', '.join(TRAITS)}.")
    each, back = people.unique(return_inverse=True)
    values, number = sample_people(each)[trait], len(TRAITS[trait])
    if trait == "male":
        return values.long()[back]
    rank = values.argsort().argsort()
    return (rank * number // len(each))[back]


def recall_by_group(records: Sequence[Record], row: str, trait: str) -> Groups | None:
    """Macro recall of a row in each group of drawn people; ``None`` where the row has no record.

    The intervals (95 %) are over people: persons are drawn with repetition, all their faces with them. The seeds
    of training are averaged first.

    Raises:
        FerError: if the records are not of the drawn faces that the generator makes today.

    Explained in: book/care.ipynb
    """
    runs = [r for r in records if r.row == row]
    if not runs:
        return None
    first = runs[0]
    label, people = _drawn(len(first.labels), first.split)
    if first.dataset != "faces" or any("".join(map(str, label.tolist())) != r.labels for r in runs):
        raise FerError(f"Groups are known of drawn faces alone, as they are drawn today: {first.method} {row} has others.")
    hits = torch.stack([r.hits().double() for r in runs]).mean(0)  # (N,)
    each, person = people.unique(return_inverse=True)
    weight = torch.ones(DRAWS + 1, len(each), dtype=torch.float64)
    chosen = torch.randint(len(each), (DRAWS, len(each)), generator=torch.Generator().manual_seed(0))
    weight[1:] = torch.zeros_like(weight[1:]).scatter_add_(1, chosen, torch.ones_like(weight[1:]))
    group, of_face = group_of(trait, people), weight[:, person]  # row 0: everybody once
    recalls = []
    for g in range(len(TRAITS[trait])):
        by_class = [(group == g) & (label == k) for k in label.unique()]
        means = [(of_face[:, at] @ hits[at]) / of_face[:, at].sum(1) for at in by_class]
        recalls.append(100 * torch.stack(means).nanmean(0))
    told = dict(zip(TRAITS[trait], map(_with_interval, recalls), strict=True))
    return Groups(told, _with_interval(recalls[-1] - recalls[0]))


def gap_sentence(found: Groups | None, name: str) -> str:
    """The gap between the last group and the first in words, whichever way it falls.

    Explained in: book/care.ipynb
    """
    if found is None:
        return f"{name}: not recorded yet."
    groups, (gap, low, high) = list(found.recall), found.gap
    side = "clearly worse" if high < 0 else "clearly better" if low > 0 else "no clear difference"
    return f"{name}: {groups[-1]} against {groups[0]} {gap:+.1f} points of macro recall [{low:+.1f}, {high:+.1f}]: {side}."


def group_dots(ax: Axes, found: Mapping[str, Groups | None], colours: Mapping[str, str]) -> None:
    """Macro recall of each group, one line of dots a row of the table, with 95 % intervals over people.

    Args:
        found: name -> groups; names without a record are left out.
        colours: name -> its colour; markers tell the names apart, too.

    Explained in: book/care.ipynb
    """
    known = {name: groups for name, groups in found.items() if groups}
    for i, ((name, groups), mark) in enumerate(zip(known.items(), "os^Dv", strict=False)):
        values = list(groups.recall.values())
        x, means = range(len(values)), [v for v, _, _ in values]
        ax.plot(x, means, f"{mark}-", color=colours[name], label=name, ms=6, lw=1.2)
        # Only the intervals stand aside, so that they can be told apart.
        aside = [k + 0.08 * (i - (len(known) - 1) / 2) for k in x]
        arms = [[v - low for v, low, _ in values], [high - v for v, _, high in values]]
        ax.errorbar(aside, means, arms, fmt="none", ecolor=colours[name], elinewidth=1.2)
        ax.set_xticks(range(len(values)), [group.replace(" ", "\n") for group in groups.recall])
    if known:
        ax.legend(frameon=False, fontsize=9, loc="upper center", bbox_to_anchor=(0.5, -0.18))
    say_if_empty(ax, bool(known))


@cache
def _drawn(count: int, split: str) -> tuple[Tensor, Tensor]:
    """Labels and persons of the first faces of a split; neither depends on the pictures' size."""
    faces = make_faces(count, split, size=32)
    return faces.labels, faces.subjects


def _with_interval(draws: Tensor) -> tuple[float, float, float]:
    """The first value, and the middle 95 % of the others."""
    low, high = draws[1:].nanquantile(torch.tensor([0.025, 0.975], dtype=draws.dtype)).tolist()
    return draws[0].item(), low, high
