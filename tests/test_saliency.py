"""What is drawn and said is what was given: means and intervals over faces, one mark a map, sentences both ways."""

import matplotlib
import matplotlib.pyplot as plt
import pytest
import torch

from fer_lib import saliency
from fer_lib.show import COLOURS

matplotlib.use("Agg")


@pytest.fixture(autouse=True)
def close():
    yield
    plt.close("all")


def test_faces_without_a_value_are_left_out():
    mean, low, high = saliency.over_faces(torch.tensor([1.0, 3.0, float("nan")]))
    assert mean == 2 and low == pytest.approx(2 - 12.706, abs=1e-3) and high == pytest.approx(2 + 12.706, abs=1e-3)
    assert all(x != x for x in saliency.over_faces(torch.full((3,), float("nan"))))


def test_dots_have_the_methods_colour_and_a_mark_a_map():
    ax = plt.subplots()[1]
    found = {"lnl": {"one": torch.tensor([1.0, 3.0]), "two": torch.tensor([5.0, 5.0])}, "ll_fer, dark": {"two": torch.tensor([2.0, 4.0])}}
    saliency.dots_by_method(ax, found, "share", {"even": 2.5})
    dots = [(line.get_xdata()[0], line.get_color(), line.get_marker()) for line in ax.lines if line.get_marker() != "None" and len(line.get_xdata())]
    assert set(dots) == {(2.0, COLOURS["lnl"], "o"), (5.0, COLOURS["lnl"], "s"), (3.0, COLOURS["ll_fer"], "s")}
    assert [t.get_text() for t in ax.get_yticklabels()] == ["ll_fer, dark", "lnl"]
    assert {t.get_text() for t in ax.get_legend().get_texts()} == {"even", "one", "two"}


def test_curves_are_means_in_percent():
    figure = saliency.replacement_curves((0.0, 1.0), {"deletion": {"a": torch.tensor([[1.0, 0.0], [0.5, 0.2]])}})
    assert figure.axes[0].lines[0].get_ydata().tolist() == pytest.approx([75, 10])
    assert list(figure.axes[0].lines[0].get_xdata()) == [0, 100]


def test_forgetting_begins_with_the_trained_network():
    ax = saliency.forgetting(["head", "stem"], {"Grad-CAM": [0.4, 0.1]}, 0.7, "other faces")
    assert list(ax.lines[0].get_ydata()) == [1, 0.4, 0.1] and ax.lines[1].get_ydata()[0] == 0.7
    assert [t.get_text() for t in ax.get_xticklabels()] == ["as trained", "head", "+ stem"]


def test_a_difference_is_said_whichever_way_it_falls():
    high, low = torch.tensor([0.5, 0.6, 0.7]), torch.tensor([0.1, 0.21, 0.3])
    assert ": more (+40 [" in saliency.difference_sentence(high, low, ("a", "b"), "points")
    assert saliency.difference_sentence(-low / 100, high, ("a", "b"), "points").startswith("a 0, b 60 points")
    assert ": less (-40 [" in saliency.difference_sentence(low, high, ("a", "b"), "points")
    assert "no clear difference" in saliency.difference_sentence(high, high.flip(0), ("a", "b"), "points")
    gone = torch.tensor([float("nan"), float("nan"), 1.0])
    assert saliency.difference_sentence(gone, low, ("a", "b"), "points") == "a and b: too few faces of this run have both."
    assert "2 faces)" in saliency.difference_sentence(torch.tensor([0.5, float("nan"), 0.6]), low, ("a", "b"), "points")


def test_a_tiny_difference_is_not_rounded_away():
    first = torch.tensor([0.5010, 0.5012, 0.5011, 0.5010])
    assert "a 50.1, b 50.0 points: more (+0.1 [+0.1, +0.1], 4 faces)" in saliency.difference_sentence(first, torch.full((4,), 0.5), ("a", "b"), "points")
    same = torch.tensor([0.5, 0.6, 0.7])
    assert "no clear difference (+0 [" in saliency.difference_sentence(same + torch.tensor([1.0, 1.1, 1.0]) * 1e-6, same, ("a", "b"), "points")


def test_curves_leave_out_faces_without_one():
    curve = torch.tensor([[1.0, 0.0], [float("nan"), float("nan")]])
    assert saliency.replacement_curves((0.0, 1.0), {"deletion": {"a": curve}}).axes[0].lines[0].get_ydata().tolist() == [100, 0]
