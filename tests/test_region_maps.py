"""What is drawn is what was given: values in their cells, curves in their panels, shares in percent."""

import matplotlib
import matplotlib.pyplot as plt
import pytest
import torch

from fer_lib import play, region_maps
from fer_lib.show import COLOURS

matplotlib.use("Agg")


@pytest.fixture(autouse=True)
def close():
    yield
    plt.close("all")


def test_cell_maps_write_each_value_in_its_cell():
    figure = region_maps.cell_maps({"a": [0.0, 1.0, 2.0, 3.5], "b": [1.0] * 4}, "weight", face=torch.rand(3, 8, 8))
    texts = {(t.get_position(), t.get_text()) for t in figure.axes[1].texts}
    assert texts == {((0, 0), "0.0"), ((1, 0), "1.0"), ((0, 1), "2.0"), ((1, 1), "3.5")}
    assert [ax.get_title() for ax in figure.axes[:3]] == ["the cells", "a", "b"]
    assert figure.axes[1].images[0].get_clim() == figure.axes[2].images[0].get_clim() == (0, 3.5)


def test_share_curves_are_percent_and_say_when_there_is_nothing():
    panels = {"left": {"own": [[0.25, 0.5], [0.25, 0.6]], "other": [[0.25, 0.2]]}, "right": {}}
    left, right = region_maps.share_curves(panels, {"left": 0.25}, "share").axes
    assert [line.get_ydata()[-1] for line in left.lines[:3]] == pytest.approx([50, 60, 20])
    assert left.lines[0].get_color() == COLOURS["lnl"] != left.lines[2].get_color()
    assert left.lines[3].get_ydata()[0] == 25 and len(left.get_legend().get_texts()) == 3
    assert right.texts[0].get_text() == "no record yet"


def test_against_faded_is_in_nats():
    figure = region_maps.against_faded([0.1, -0.02], {"weights": [1.5, 0.5], "Grad-CAM": [1.0, 1.0]})
    assert [ax.lines[0].get_ydata() for ax in figure.axes][0] == pytest.approx([0.1, -0.02])
    assert figure.axes[0].lines[0].get_xdata() == pytest.approx([1.5, 0.5])


def test_emotion_bars_share_the_weight_of_each_emotion():
    ax = region_maps.emotion_bars({"joy": [3.0, 1.0], "fear": [1.0, 1.0]}, {"up": [0], "down": [1]})
    assert [bar.get_height() for bar in ax.patches] == pytest.approx([75, 50, 25, 50])


def test_the_player_has_a_frame_an_epoch_and_asks_no_other_host():
    html = play.weight_player(torch.rand(3, 8, 8), torch.rand(3, 4), [0.2, 0.4, 0.6], 0.25, ["a", "b", "c"], alt="Weights.")
    assert html.count("data:image/png;base64") == 3 + 3 and "http" not in html.replace("http://www.w3.org", "")
