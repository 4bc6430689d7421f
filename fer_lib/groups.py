"""Is everybody read equally well? Recorded runs by traits of the drawn persons, of whom the truth is known."""

from collections.abc import Mapping, Sequence
from functools import cache
from itertools import combinations
from typing import NamedTuple

import pandas as pd
import torch
from matplotlib.axes import Axes
from pandas.io.formats.style import Styler
from torch import Tensor

from fer_lib.data.faces import DEFAULT_DIFFICULTY, Draws, Spread, draw_faces, make_faces, sample_people, sample_units, sample_views
from fer_lib.data.faceset import SPLITS, FaceSet
from fer_lib.emotions import Emotion
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
# What a person's colours are made of, part by part: with these of another, the bones, the features and the movements stay.
COLOURING = {"skin": ("tone", "skin", "freckles"), "lips": ("lips",), "hair": ("hair", "whiskers", "brow"), "eyes": ("iris",)}
Interval = tuple[float, float, float]  # value, low, high


class Groups(NamedTuple):
    """Macro recall of groups of people, mean over the seeds of a row, in percent.

    Attributes:
        draws: name of the group -> float64 (1 + DRAWS,): the value, then that of each resampling of the people. The
            resamplings are the same for all groups, rows and traits of the same people.

    Explained in: book/care.ipynb
    """

    draws: dict[str, Tensor]

    @property
    def recall(self) -> dict[str, Interval]:
        """Name of the group -> its macro recall."""
        return {name: _with_interval(x) for name, x in self.draws.items()}

    @property
    def gaps(self) -> dict[tuple[str, str], Interval]:
        """Each two groups, the later one first -> what the first has more than the second."""
        return {(b, a): _with_interval(self.draws[b] - self.draws[a]) for a, b in combinations(self.draws, 2)}


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
    hits, group = torch.stack([r.hits().double() for r in runs]).mean(0), group_of(trait, people)
    return _resampled({name: (hits, group == g) for g, name in enumerate(TRAITS[trait])}, label, people)


def repainted(persons: int, size: int, shown: float = 1.0, parts: Sequence[str] = tuple(COLOURING)) -> dict[str, FaceSet]:
    """Drawn test persons with the colours of three others each: of a light, a medium and a dark one.

    Nothing else differs: person, expression, pose, light and background are the same three times.

    Args:
        persons: how many, each with all eight emotions.
        size: pixels of a side.
        shown: factor of all action units; at 0 the faces are at rest.
        parts: of ``COLOURING``, whose colours are lent; the others are the person's own.

    Returns:
        The group as in ``TRAITS["tone"]`` -> its ``8 * persons`` faces.

    Explained in: book/care.ipynb
    """
    classes, split = len(Emotion), SPLITS.index("test")
    subjects = (torch.arange(persons) * len(SPLITS) + split).repeat_interleave(classes)
    labels, draws = torch.arange(classes).repeat(persons), Draws(0, "repainted", torch.arange(classes * persons))
    spread = Spread.at(DEFAULT_DIFFICULTY)
    people, units, view = sample_people(subjects, rest=spread.rest), sample_units(labels, draws, spread), sample_views(draws, spread)
    pool = sample_people(torch.arange(3 * persons) * len(SPLITS) + split)
    thirds, made = pool["tone"].argsort().chunk(3), {}
    for name, donors in zip(TRAITS["tone"], thirds, strict=True):
        lent = {trait: pool[trait][donors].repeat_interleave(classes, 0) for part in parts for trait in COLOURING[part]}
        image = draw_faces(people | lent, shown * units, view, size).image
        images = (image * 255).round().to(torch.uint8)
        made[name] = FaceSet(name="faces", split="test", fingerprint="repainted", images=images, labels=labels, subjects=subjects)
    return made


def recall_repainted(hits: Mapping[str, Tensor], faces: FaceSet) -> Groups:
    """Macro recall of the same people under each colouring.

    Args:
        hits: name of the colouring -> bool (N,), whether each face was named rightly.
        faces: any of :func:`repainted`.

    Explained in: book/care.ipynb
    """
    everyone = torch.ones_like(faces.labels, dtype=torch.bool)
    return _resampled({name: (hit.double(), everyone) for name, hit in hits.items()}, faces.labels, faces.subjects)


def gap_table(found: Mapping[str, Groups | None], caption: str) -> Styler:
    """Macro recall of each group, and what each has more than another, in percent; a gap whose interval leaves out zero is bold.

    Args:
        found: name of the line -> groups of one trait; lines without a record are left out.

    Explained in: book/care.ipynb
    """
    known, lines = {name: groups for name, groups in found.items() if groups}, []
    for name, groups in known.items():
        cells = {group: f"{value:.1f}" for group, (value, _, _) in groups.recall.items()}
        for (first, second), (gap, low, high) in groups.gaps.items():
            text = f"{gap:+.1f} [{low:+.1f}, {high:+.1f}]"
            cells[f"{first} − {second}"] = f"<b>{text}</b>" if low > 0 or high < 0 else text
        lines.append({"": name} | cells)
    return pd.DataFrame(lines).style.hide(axis="index").set_caption(caption if lines else f"{caption} No record yet.")


def widened(before: Groups | None, after: Groups | None) -> Interval | None:
    """How much larger the gap of the last group to the first is in one row than in another, of the same people; ``None`` without both.

    Explained in: book/care.ipynb
    """
    if not (before and after):
        return None
    first, last = list(before.draws)[0], list(before.draws)[-1]
    gaps = [groups.draws[last] - groups.draws[first] for groups in (before, after)]
    return _with_interval(gaps[1] - gaps[0])


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


def _resampled(groups: Mapping[str, tuple[Tensor, Tensor]], label: Tensor, people: Tensor) -> Groups:
    """Macro recall of groups, each given by its hits (N,) and its faces (bool (N,)), under resampled people."""
    each, person = people.unique(return_inverse=True)
    weight = torch.ones(DRAWS + 1, len(each), dtype=torch.float64)
    chosen = torch.randint(len(each), (DRAWS, len(each)), generator=torch.Generator().manual_seed(0))
    weight[1:] = torch.zeros_like(weight[1:]).scatter_add_(1, chosen, torch.ones_like(weight[1:]))
    of_face, draws = weight[:, person], {}  # row 0: everybody once
    for name, (hits, inside) in groups.items():
        by_class = [inside & (label == k) for k in label.unique()]
        means = [(of_face[:, at] @ hits[at]) / of_face[:, at].sum(1) for at in by_class]
        draws[name] = 100 * torch.stack(means).nanmean(0)
    return Groups(draws)


@cache
def _drawn(count: int, split: str) -> tuple[Tensor, Tensor]:
    """Labels and persons of the first faces of a split; neither depends on the pictures' size."""
    faces = make_faces(count, split, size=32)
    return faces.labels, faces.subjects


def _with_interval(draws: Tensor) -> Interval:
    """The first value, and the middle 95 % of the others."""
    low, high = draws[1:].nanquantile(torch.tensor([0.025, 0.975], dtype=draws.dtype)).tolist()
    return draws[0].item(), low, high
