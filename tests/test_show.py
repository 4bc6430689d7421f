"""The figures show what they are given, and the sentences follow the numbers, whichever way they fall."""

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from bs4 import BeautifulSoup

from fer_lib import play, show
from fer_lib.data.faces import make_faces
from fer_lib.errors import FerError
from fer_lib.methods import METHODS
from fer_lib.record import Record, summarize
from fer_lib.sources import sources

matplotlib.use("Agg")
TRUTH = "0011" * 25


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def record(row, seed, right, metric=None):
    """A record in which the first ``right`` of 100 faces are named correctly."""
    said = "".join(t if i < right else "2" for i, t in enumerate(TRUTH))
    accuracy = right / 100 if metric is None else metric
    fields = dict.fromkeys(("device", "commit", "finished", "sources"), "") | dict.fromkeys(
        ("parameters", "fingerprint", "intervals", "versions", "cost"), {}
    )
    history = [{"epoch": e, "all/cross-entropy": 2.0 / e, "val_accuracy": e / 4} for e in (1, 2, 3)]
    return Record(
        method="baseline", row=row, dataset="faces", profile="quick", fold=0, seed=seed, split="test", alignment="as drawn",
        labels=TRUTH, predicted=said,
        metrics={"accuracy": accuracy, "macro_recall": accuracy}, confusion=[[6, 2, 0], [1, 9, 0], [0, 0, 0]],
        chosen={"epoch": 2, "metrics": {}, "intervals": {}}, history=history, **fields,
    )  # fmt: skip



def test_table_shows_mean_and_interval():
    html = show.percent_table(summarize([record("A", s, 60 + s) for s in range(3)]), "caption").to_html()
    assert "61.0 [58.5,\N{NO-BREAK SPACE}63.5]" in html and "caption" in html
    assert "60.0<" in show.percent_table(summarize([record("A", 0, 60)]), "one").to_html()


def test_confusion_is_in_percent_of_the_truth():
    ax = show.confusion(record("A", 0, 60))
    shown = np.asarray(ax.images[0].get_array())
    assert shown[0].tolist() == [75, 25, 0] and shown[1].tolist() == [10, 90, 0] and shown[2].tolist() == [0, 0, 0]
    assert {"75", "25", "10", "90"} == {text.get_text() for text in ax.texts}


def test_history_rings_the_chosen_epoch():
    right = show.history(record("A", 0, 60)).axes[1]
    assert [list(line.get_xdata()) for line in right.lines] == [[1, 2, 3], [2]]
    assert right.lines[1].get_ydata()[0] == 50


def test_many_loss_terms_look_different_and_are_named_beside_the_axes():
    many = record("A", 0, 60)
    for epoch in many.history:
        epoch |= {f"all/{k}": k / epoch["epoch"] for k in range(9)}
    figure = show.history(many)
    left, (names,) = figure.axes[0], figure.legends
    assert left.get_legend() is None and len(names.get_texts()) == len(left.lines) == 10
    assert len({(line.get_color(), line.get_linestyle()) for line in left.lines}) == 10


def test_intervals_and_bars():
    table = summarize([record(row, s, 60 + s) for row in "AB" for s in range(3)])
    ax = show.intervals(table, "row")
    assert [label.get_text() for label in ax.get_yticklabels()] == ["B", "A"]
    bars = show.bars({"x": {"a": 1, "b": 3}, "y": {"a": 5, "b": 5}})
    assert [patch.get_height() for patch in bars.patches] == [25, 75, 50, 50]


def test_faces_and_truth():
    faces = make_faces(5, "test", size=48, neutral=True)
    figure = show.face_grid(faces.images, 3, ["a", "b", "c"], ["first", "second"], maps=torch.rand(5, 48, 48))
    assert len(figure.axes) == 6 and figure.axes[3].get_ylabel() == "second"
    assert [ax.get_title() for ax in figure.axes[:3]] == ["a", "b", "c"]
    points = show.truth(faces, 1).axes[1].collections[0].get_offsets()
    assert np.allclose(points, faces.landmarks[1])


def test_batch_dependence_draws_every_curve():
    ax = show.batch_dependence((1, 64), {"sorted": [50, 90], "shuffled": [50, 49]}, 50.0).axes[0]
    assert [line.get_label() for line in ax.lines] == ["plain head", "sorted", "shuffled"]


def test_players_bring_their_own_buttons():
    rows = torch.randint(0, 255, (3, 2, 3, 16, 16), dtype=torch.uint8)
    html = play.face_player(rows, ["one", "two", "three"], alt="Faces.", still="The figure above shows the same as a still.")
    assert html.count("data:image/jpeg;base64") == 3 and "anim-buttons" in html
    html = play.sample_size_player(record("A", 0, 60).hits(), (10, 100), alt="Bars.")
    assert html.count("data:image/png;base64") == 2 + 2 and "http" not in html and "▶|" in html


def test_a_player_is_described_and_says_the_same_standing_still():
    rows = torch.linspace(0, 1, 9)[:, None, None, None, None].expand(9, 2, 1, 16, 16)
    titles = [f"{k} < 9" for k in range(9)]
    page = BeautifulSoup(play.face_player(rows, titles, alt='Two faces, "A" & "B", brighten.'), "html.parser")
    assert page.select_one(".animation img")["alt"] == 'Two faces, "A" & "B", brighten.'
    stills = page.select("details.still img")
    assert [image["alt"] for image in stills] == [titles[k] for k in (0, 2, 3, 5, 6, 8)]
    assert [caption.get_text() for caption in page.select(".still figcaption")] == [image["alt"] for image in stills]
    assert len({image["src"] for image in stills}) == 6
    html = play.face_player(rows, titles, alt="Two faces.", still="The figure <above> is the still.")
    assert "details" not in html and html.endswith('<p class="still">The figure &lt;above&gt; is the still.</p>')


def test_every_method_has_a_colour_of_its_own():
    assert set(METHODS) <= set(show.COLOURS) and len(set(show.COLOURS.values())) == len(show.COLOURS)


def test_sentences_without_a_record_are_named_once_at_the_end():
    said = show.told("**A against B:** +1.0\n\n**C against D:** not recorded yet.", "C against D: no two common seeds are recorded yet.")
    assert said.data == "**A against B:** +1.0\n\nNot recorded yet: C against D."
    said = show.told("E against F: no two common seeds are recorded yet.", "**C against D:** not recorded yet.")
    assert said.data == "Not recorded yet: C against D.\n\nNo interval, for want of two seeds that both have: E against F."
    claims = "\n**Method**\n\n- One: held.\n- Two: not recorded yet."
    assert show.told(claims).data == claims


def test_where_records_come_from():
    first, last = record("A", 0, 60), record("A", 1, 60)
    assert show.origin([]) == ""
    first.device, last.device, first.finished, last.finished = "one", "two", "2026-01-01T00:00:00", "2026-02-03T00:00:00"
    first.commit, first.sources, last.sources = "0123456789", "0", sources("baseline", "faces")
    other = record("B", 0, 60)
    other.device, other.finished, other.sources = "two", "2026-01-02T00:00:00", last.sources
    said = show.origin([last, first, other])
    assert said == "Run on two; A (seed 0) on one, last on 2026-02-03. Some were made by an earlier state of the library (commit 0123456)."
    assert show.origin([last]) == "Run on two, last on 2026-02-03."
