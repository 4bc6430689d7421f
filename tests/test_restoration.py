"""What the chapters on restorers say and draw follows the records, whichever way they fall, and without any."""

import re

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from rendered import ROOT

from fer_lib import restoration, versus
from fer_lib.explain import wanted_change
from fer_lib.methods.method import Method, Prediction
from fer_lib.record import Record, figure_of

matplotlib.use("Agg")
TRUTH = "0011" * 25
DARK = {"none": "good", "low_light:severe": "severe"}


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def record(row, seed, right=60, psnr=20.0, **mechanism):
    """A record in which the first ``right`` of 100 faces are named correctly, and half of them in the dark."""
    said = "".join(t if i < right else "2" for i, t in enumerate(TRUTH))
    fields = dict.fromkeys(("device", "commit", "finished", "sources"), "") | dict.fromkeys(
        ("parameters", "fingerprint", "intervals", "versions", "cost"), {}
    )
    names = [f"{kind}_{k}" for kind in ("feature_distance", "attention_distance") for k in range(1, 5)]
    stages = {f"{name}_{v}": s * int(name[-1]) for name in names for v, s in (("degraded", 2.0), ("restored", 0.5))}
    figures = {"psnr_restored": psnr, "accuracy": {"none": right / 100, "low_light:severe": right / 200}, **stages}
    return Record(
        method="ll_fer", row=row, dataset="faces", profile="quick", fold=0, seed=seed, split="test", alignment="as drawn",
        labels=TRUTH, predicted=said, metrics={"accuracy": right / 100, "macro_recall": right / 100}, confusion=[[1]],
        chosen={"epoch": 2, "metrics": {}, "intervals": {}}, history=[], mechanism=figures | mechanism, **fields,
    )  # fmt: skip


def rows(**right):
    """Three seeds a row: ``right`` faces and one more for each seed."""
    return [record(row, seed, value + seed, psnr=value / 2 + seed) for row, value in right.items() for seed in range(3)]


def test_figures_by_name():
    one = record("A7", 0, 60, psnr=21.5)
    assert figure_of(one, "accuracy") == pytest.approx(60)
    assert figure_of(one, "accuracy/low_light:severe") == pytest.approx(30)
    assert figure_of(one, "psnr_restored") == 21.5
    assert figure_of(one, "accuracy/fog") is None and figure_of(one, "psnr_gap_restored") is None


def test_gain_is_over_common_seeds_and_its_sentence_follows_its_sign():
    runs = rows(A4=50, A7=60)[:5]  # the last seed of A7 is not there
    assert versus.gain(runs, "A4", "A7", "accuracy") == pytest.approx((10, 10, 10))
    assert versus.gain(runs[:4], "A4", "A7", "accuracy") is None
    say = versus.gain_sentence
    assert say(runs, "A4", "A7", "accuracy", "points", 1) == "A7 against A4: +10.0 points, 95 % interval +10.0 to +10.0: more."
    assert say(runs, "A7", "A4", "accuracy", "points").endswith(": less.")
    noisy = [record("A4", s, 50) for s in range(3)] + [record("A7", s, 50 + d) for s, d in enumerate((-9, 8, 2))]
    assert "no clear difference" in say(noisy, "A4", "A7", "accuracy", "points")
    assert "no two common seeds" in say([], "A4", "A7", "accuracy", "points")


def test_order_names_the_place_where_it_breaks():
    assert "the order holds" in restoration.order(rows(A1=30, A4=50, A7=60), ("A1", "A4", "A7"))
    assert "A7 is not above A4" in restoration.order(rows(A1=30, A4=60, A7=50), ("A1", "A4", "A7"))
    assert "not all of these rows" in restoration.order(rows(A1=30), ("A1", "A4"))


def test_gain_table_has_a_line_a_pair_and_a_column_a_figure():
    text = versus.gain_table(rows(A4=50, A7=60), [("A4", "A7"), ("A3", "A7")], {"accuracy": "accuracy", "no such": "nothing"}, 1)
    lines = text.split("\n")
    assert lines[0] == "| | accuracy | no such |" and lines[1] == "|---|---|---|"
    assert lines[2] == "| A7 − A4 | **+10.0** [+10.0,\N{NO-BREAK SPACE}+10.0] | – |"
    assert lines[-1] == "**A7 against A3:** no two common seeds are recorded yet."
    assert versus.gain_table([], [("A4", "A7")], {"accuracy": "accuracy"}).startswith("**A7 against A4")


def test_missing_names_the_rows_without_a_record():
    assert restoration.missing(rows(A4=50), ("A4", "A7", "A8")) == "No record yet: A7, A8."
    assert restoration.missing(rows(A4=50), ("A4",)) == ""


def test_table_leaves_out_rows_without_records():
    html = restoration.mechanism_table(rows(A4=50), ("A4", "A7"), {"PSNR (dB)": ("psnr_restored", 1)}, "caption").to_html()
    assert "26.0 [23.5,\N{NO-BREAK SPACE}28.5]" in html and "A7" not in html
    assert "No record yet" in restoration.mechanism_table([], ("A4",), {"SSIM": ("ssim_restored", 3)}, "c").to_html()
    cut = restoration.mechanism_table(rows(A4=50), ("A4",), {"PSNR (dB)": ("psnr_restored", 1)}, "c", (0, 27)).to_html()
    assert "26.0 [23.5,\N{NO-BREAK SPACE}27.0]" in cut


def test_curves_draw_mean_and_interval_of_every_row_that_is_there():
    figure = restoration.condition_curves(rows(A1=30, A7=60), {"one": ("A1", "A7"), "two": ("A4", "A7")}, DARK, "A7")
    curves = [line for line in figure.axes[0].lines if not line.get_label().startswith("_")]
    assert [c.get_label() for c in curves] == ["A1", "A7"] and len(figure.axes[1].containers) == 1
    assert np.allclose(curves[1].get_ydata(), [61, 30.5]) and np.allclose(curves[1].get_xdata(), [0, 1])
    chance = 100 / len(rows(A1=30)[0].confusion)
    assert any(np.allclose(line.get_ydata(), chance) for line in figure.axes[0].lines)
    assert [t.get_text() for t in figure.axes[0].get_xticklabels()] == ["good", "severe"]
    assert curves[1].get_color() == restoration.COLOURS["ll_fer"] != curves[0].get_color()


def test_stage_curves_are_shares_of_the_degraded_distance():
    figure = restoration.stage_curves(rows(A7=60), {"stage maps": "feature_distance"}, ("A4", "A7"), "A7", "dark")
    assert np.allclose(figure.axes[0].lines[0].get_ydata(), [0.25] * 4)


def test_tradeoff_and_gains_put_points_where_the_records_say():
    ax = restoration.tradeoff(rows(A0=90, A4=50, A7=60), {"pixels": ["A4", "A8"], "joint": ["A7"]}, "A0")
    points = {c.get_label(): (c[0].get_xdata()[0], c[0].get_ydata()[0]) for c in ax.containers}
    assert points == {"pixels": pytest.approx((26, 51)), "joint": pytest.approx((31, 61))}
    assert {t.get_text() for t in ax.texts} == {"A4", "A7"}
    ax = restoration.gains(rows(A4=50, A7=60), [("A4", "A7"), ("A4", "A6")], "psnr_restored", "dB")
    assert [t.get_text() for t in ax.get_yticklabels()] == ["A6 − A4", "A7 − A4"]
    assert any(np.allclose(line.get_xdata(), 5) and np.allclose(line.get_ydata(), 1) for line in ax.lines)


def test_share_kept_splits_a_gain():
    said = restoration.share_kept(rows(A4=50, A5=57, A7=60), "A4", "A5", "A7")
    assert "A7 has +10.0 points of accuracy over A4. A5 has +7.0 of them, too" in said and said.endswith("is +3.0 [+3.0, +3.0].")
    assert "A7 has no clear gain over A4" in restoration.share_kept(rows(A4=60, A5=57, A7=50), "A4", "A5", "A7")
    assert "recorded yet" in restoration.share_kept(rows(A4=50, A7=60), "A4", "A5", "A7")


def test_whether_restorers_are_done_learning_is_read_off_the_last_epochs():
    def told(*losses):
        history = [{"epoch": k, "val_accuracy": 0.5, "restorer/pixels": x} for k, x in enumerate(losses)]
        return restoration.still_learning([r.model_copy(update={"history": history}) for r in rows(S2=50)], ("S2", "S5"), "restorer/pixels")

    assert "seed by seed: S2 10.0" in told(2.0, 1.0, 0.9) and "S5" not in told(2.0, 1.0, 0.9)
    assert "S2 0.0" in told(2.0, 1.0, 1.0) and restoration.still_learning([], ("S2",), "restorer/pixels") == ""


def test_a_caption_speaks_of_the_rows_that_learn():
    short, long = (r.model_copy(update={"parameters": {**r.parameters, "backbone": "b", "size": 48, "train_images": 6000, "epochs": n}}) for r, n in zip(rows(A1=20, A4=50), (1, 6), strict=False))
    said = restoration.trained_with([short, long])
    assert said == f"b, 48 px, 6,000 training faces, 6 epochs, {len(long.labels):,} faces measured"
    every = long.model_copy(update={"parameters": {**long.parameters, "train_images": 0}})
    assert "all training faces" in restoration.trained_with([every])
    assert restoration.trained_with([short]) == f"b, 48 px, rows without training of their own, {len(short.labels):,} faces measured"


def test_without_records_every_figure_says_so():
    figures = [
        *restoration.condition_curves([], {"one": ("A1",)}, DARK, "A1").axes,
        *restoration.stage_curves([], {"stage maps": "feature_distance"}, ("A7",), "A7", "dark").axes,
        restoration.tradeoff([], {"joint": ["A7"]}, "A0"),
        restoration.gains([], [("A4", "A7")], "psnr_restored", "dB"),
    ]
    assert all("no record yet" in {text.get_text() for text in ax.texts} for ax in figures)


class Bright(Method):
    """Class 1 where the picture's left half is bright, class 0 where its right half is."""

    def forward(self, image):
        halves = image.mean((1, 2)).unflatten(1, (2, -1)).mean(2)  # (B, 2)
        return Prediction(10 * halves.flip(1))

    def losses(self, batch, stage, player):
        return {}


def test_wanted_change_points_to_what_would_help():
    image = torch.full((2, 3, 8, 8), 0.5)
    change = wanted_change(Bright(), image, torch.tensor([1, 0]))
    assert change.shape == (2, 8, 8) and torch.allclose(change[0], -change[1], atol=1e-5)
    assert torch.allclose(change[0, :, :4], torch.ones(8, 4)) and torch.allclose(change[0, :, 4:], -torch.ones(8, 4))


def test_signed_maps_show_both_and_say_what_the_colours_mean():
    maps = torch.linspace(-1, 1, 3)[:, None, None].expand(3, 8, 8)
    figure = restoration.signed_maps(torch.rand(3, 3, 8, 8), maps, list("abc"), ("face", "wish"), ("darker", "brighter"))
    assert [ax.get_title() for ax in figure.axes[:3]] == list("abc")
    assert figure.axes[5].images[0].get_clim() == (-1, 1) and np.allclose(figure.axes[5].images[0].get_array(), 1)
    assert [t.get_text() for t in figure.axes[-1].get_yticklabels()] == ["darker", "as it is", "brighter"]


def test_a_column_in_percent_shows_percent():
    """A figure without a slash that is no metric is shown as recorded: a share, that is, and no percentage."""
    text = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "book").glob("*.ipynb"))
    columns = re.findall(r'"([^"]*)\\": \(\\"([^"]+)\\", \d\)', text)
    assert len(columns) > 60 and {name for title, name in columns if "(%)" in title and "/" not in name} <= {"accuracy", "macro_recall"}
