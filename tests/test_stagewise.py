"""Figures show the numbers that they are given, and say so where there are none."""

import matplotlib.pyplot as plt
import pytest
import torch

from fer_lib import play, stagewise
from fer_lib.record import Record


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def made(row, seed, probe):
    return Record(
        method="clcl", row=row, dataset="faces", profile="quick", fold=0, seed=seed, split="test", alignment="as drawn",
        parameters={}, fingerprint={}, metrics={"accuracy": 0.5}, intervals={}, confusion=[[1]],
        chosen={"epoch": 1, "metrics": {}, "intervals": {}}, labels="0", predicted="0", history=[], cost={}, device="cpu",
        versions={}, sources="", commit="", finished="", mechanism={"probe": {str(k): probe + k / 10 for k in range(1, 5)}},
    )  # fmt: skip


LINES = {"B1": ("B1", "probe/{}"), "B4": ("B4", "probe/{}")}


def test_stage_lines_show_means_over_seeds_and_differences_by_seed():
    records = [made(row, seed, base + seed / 100) for row, base in (("B1", 0.1), ("B4", 0.2)) for seed in range(3)]
    figure, (left, right) = plt.subplots(1, 2)
    stagewise.stage_lines(left, records, LINES, "B4", range(1, 5))
    stagewise.stage_lines(right, records, LINES, "B4", range(1, 5), against="B1")
    levels = {line.get_label(): line for line in left.lines}
    assert levels["B1"].get_ydata() == pytest.approx([21, 31, 41, 51])
    assert levels["B4"].get_color() == stagewise.COLOURS["clcl"] != levels["B1"].get_color()
    assert len(right.containers) == 1
    assert {line.get_label(): line for line in right.lines}["B4"].get_ydata() == pytest.approx([10] * 4)


def test_stage_lines_without_records_say_so():
    ax = plt.subplots()[1]
    stagewise.stage_lines(ax, [], LINES, "B4", range(1, 5))
    assert [t.get_text() for t in ax.texts] == ["no record yet"]


def test_stage_lines_in_another_unit():
    ax = plt.subplots()[1]
    stagewise.stage_lines(ax, [made("B4", seed, 0.2) for seed in range(2)], {"B4": LINES["B4"]}, "B4", range(1, 5), scale=10)
    assert ax.lines[0].get_ydata() == pytest.approx([300, 400, 500, 600])


def test_intensity_curves_have_a_panel_a_stage_and_print_thousandths():
    figure = stagewise.intensity_curves({"with": [[1, 2, 3, 4], [5, 6, 7, 8]], "without": [[1, 1, 1, 1]] * 2}, "with")
    assert [list(ax.lines[0].get_ydata()) for ax in figure.axes] == [[1000, 5000], [2000, 6000], [3000, 7000], [4000, 8000]]
    assert "10⁻³ nats" in figure.axes[0].get_ylabel()


def test_agreement_curves_show_what_is_beyond_a_stranger():
    epochs = [{"own": 0.6, "stranger": 0.5, "shuffled": -0.1}, {"own": 0.9, "stranger": 0.6, "shuffled": -0.2}]
    drawn = [ax.lines[0].get_ydata() for ax in stagewise.agreement_curves({"with": epochs}, "with").axes]
    assert [list(x) for x in drawn[:2]] == [[0.6, 0.9], [-0.1, -0.2]] and drawn[2] == pytest.approx([0.1, 0.3])


def test_own_above_a_stranger_is_a_figure_of_every_record_that_has_both():
    whole, half = made("B4", 0, 0.1), made("B4", 1, 0.1)
    whole.mechanism |= {"align_channels_own_2": 0.75, "align_channels_stranger_2": 0.5}
    half.mechanism |= {"align_channels_own_2": 0.75}
    found = stagewise.beyond_strangers([whole, half])
    assert found[0].mechanism["beyond_2"] == 0.25 and "beyond_1" not in found[0].mechanism
    assert "beyond_2" not in found[1].mechanism and "beyond_2" not in whole.mechanism


def test_the_smallest_rank_is_found_and_named():
    runs = [made(row, seed, 0.1) for row in ("B4", "C2") for seed in (0, 1)]
    for k, r in enumerate(runs):
        r.mechanism |= {"rank_faces_1": 140.0 + k, "rank_faces_4": 120.0 - k}
    assert stagewise.smallest_rank(runs, ["B4"], "faces") == "faces 119 (B4, seed 1, stage 4)"
    assert stagewise.smallest_rank(runs, ["B4"], "channels") == "channels: not recorded yet"


def test_share_table_prints_its_percents():
    ax = plt.subplots()[1]
    stagewise.share_table(ax, torch.tensor([[0.25, 0.75], [1.0, 0.0]]), ["a", "b"], ["x", "y"], "share")
    assert [t.get_text() for t in ax.texts] == ["25", "75", "100", "0"]


def test_order_player_plays_without_a_kernel_even_if_the_last_batch_is_short():
    labels = torch.arange(10) % 8
    html = play.order_player(labels, [torch.arange(10), torch.randperm(10)], ["in order", "shuffled"], 4, alt="Batches.")
    assert html.count("data:image/png") == 2 + 2 and "http" not in html.replace("http://www.w3.org", "")
