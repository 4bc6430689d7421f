"""Recall of groups of drawn people: by hand, and refused where nothing is known of the people."""

import pytest
import torch

from fer_lib import groups
from fer_lib.data.faces import make_faces, sample_people
from fer_lib.errors import FerError
from fer_lib.record import read_records
from fer_lib.show import COLOURS

FACES = make_faces(120, "test", size=32)


@pytest.fixture
def records():
    """Two seeds of a row that names all faces of the darkest third wrongly, in one seed some others, too."""
    (record, *_) = read_records(method="baseline", row="R0", dataset="faces", profile="quick")
    dark = groups.group_of("tone", FACES.subjects) == 2
    made = []
    for seed in (0, 1):
        wrong = dark | (seed * torch.arange(120) % 2).bool()
        said = torch.where(wrong, (FACES.labels + 1) % 8, FACES.labels)
        texts = ["".join(map(str, x.tolist())) for x in (FACES.labels, said)]
        made.append(record.model_copy(update={"row": "X", "seed": seed, "labels": texts[0], "predicted": texts[1]}))
    return made


def test_groups_are_even_shares_of_persons_in_the_order_of_the_trait():
    group = groups.group_of("tone", FACES.subjects)
    each = FACES.subjects.unique()
    tone = {int(p): float(x) for p, x in zip(each, sample_people(each)["tone"], strict=True)}
    by_group = [[tone[int(p)] for p in FACES.subjects[group == g].unique()] for g in range(3)]
    assert [len(x) for x in by_group] == [10, 10, 10]
    assert max(by_group[0]) < min(by_group[1]) and max(by_group[1]) < min(by_group[2])
    assert set(groups.group_of("male", FACES.subjects).tolist()) == {0, 1}
    with pytest.raises(FerError, match="There is no trait 'height': choose one of tone"):
        groups.group_of("height", FACES.subjects)


def test_recall_by_hand_and_an_interval_over_people(records):
    found = groups.recall_by_group(records, "X", "tone")
    assert found.recall["darkest third"] == (0, 0, 0)
    group = groups.group_of("tone", FACES.subjects)
    even = (torch.arange(120) % 2 == 0).float()
    by_class = [(0.5 + 0.5 * even)[(group == 0) & (FACES.labels == k)].mean() for k in range(8)]
    value, low, high = found.recall["lightest third"]
    assert value == pytest.approx(100 * torch.stack(by_class).mean().item(), abs=1e-4) and low < value < high
    assert found.gap == pytest.approx((-value, -high, -low))
    assert "clearly worse" in groups.gap_sentence(found, "X") and groups.gap_sentence(None, "Y") == "Y: not recorded yet."


def test_what_is_not_known_is_refused_or_said(records):
    assert groups.recall_by_group(records, "Y", "tone") is None
    other = [r.model_copy(update={"labels": r.labels[::-1]}) for r in records]
    with pytest.raises(FerError, match="Groups are known of drawn faces alone"):
        groups.recall_by_group(other, "X", "tone")


def test_dots_stand_where_the_figures_are(records):
    import matplotlib.pyplot as plt

    ax, empty = plt.subplots(1, 2)[1]
    found = groups.recall_by_group(records, "X", "tone")
    groups.group_dots(ax, {"X": found, "Y": None}, {"X": COLOURS["baseline"], "Y": "black"})
    assert ax.lines[0].get_ydata() == pytest.approx([v for v, _, _ in found.recall.values()])
    assert [t.get_text() for t in ax.get_xticklabels()][2] == "darkest\nthird"
    groups.group_dots(empty, {"Y": None}, {})
    assert "no record yet" in {t.get_text() for t in empty.texts}
