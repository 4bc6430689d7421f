"""The tool that keeps recognizers: small files, checksums, and a card with figures of the rounded weights."""

import importlib.util
from pathlib import Path

import pytest

from fer_lib.emotions import NAMES
from fer_lib.errors import FerError
from fer_lib.evaluate import Scores
from fer_lib.kept import SUMS, load_recognizer, recognizer_path
from fer_lib.parameters import Parameters
from fer_lib.run import run

TINY = "train_images=16 val_images=16 test_images=24 size=32 epochs=2"
WHICH = {"method": "ll_fer", "row": "A7", "profile": "smoke", "overrides": TINY}


@pytest.fixture
def tool():
    path = Path(__file__).resolve().parent.parent / "tools" / "keep_weights.py"
    spec = importlib.util.spec_from_file_location("keep_weights", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    return run(Parameters(**WHICH, out=str(tmp_path_factory.mktemp("runs"))), log=lambda line: None, judge=False)


def test_a_run_is_kept_with_its_card(tool, done, tmp_path, monkeypatch):
    monkeypatch.setattr(tool, "RECOGNIZERS", (WHICH,))
    tool.keep_recognizers(done.path.parent.parent, {}, tmp_path)
    path = recognizer_path("ll_fer", "A7", "faces", tmp_path)
    assert load_recognizer(path).about["row"] == "A7"
    assert path.name in (tmp_path / SUMS).read_text()
    card = (tmp_path / "recognizers.md").read_text()
    assert f"`{path.name}`" in card and "Measured with the rounded weights" in card and "24 faces of the test split" in card
    assert f"changed: `{TINY}`" in card and "degraded: `low_light:mixed`" in card
    assert all(f"| {name} |" in card for name in ("accuracy", "macro recall", "calibration error", "happiness", "contempt"))
    assert "| accuracy | " in card and card.count(" | 24 |") == 3 and card.count(" | 3 |") == 8  # faces of each figure
    assert "Nothing was chosen on these faces." in card
    assert path.stat().st_size < 0.35 * done.path.with_suffix(".safetensors").stat().st_size


def test_a_recognizer_without_a_run_stays_as_it_is_kept(tool, done, tmp_path, monkeypatch):
    runs, other = done.path.parent.parent, WHICH | {"row": "A3"}
    monkeypatch.setattr(tool, "RECOGNIZERS", (WHICH,))
    tool.keep_recognizers(runs, {}, tmp_path)
    card, path = (tmp_path / "recognizers.md").read_text(), recognizer_path("ll_fer", "A7", "faces", tmp_path)
    before = path.read_bytes()
    tool.keep_recognizers(tmp_path / "empty", {}, tmp_path)
    assert (tmp_path / "recognizers.md").read_text() == card and path.read_bytes() == before
    monkeypatch.setattr(tool, "RECOGNIZERS", (WHICH, other))
    with pytest.raises(FerError, match="There is no record"):
        tool.keep_recognizers(runs, {}, tmp_path)


def test_photographs_that_are_not_at_hand_have_the_records_figures(tool, done, tmp_path, monkeypatch):
    monkeypatch.setattr(tool, "RECOGNIZERS", (WHICH,))
    tool.keep_recognizers(done.path.parent.parent, {}, tmp_path)
    record = done.record.model_copy(update={"dataset": "ferplus"})
    card = tool.section(recognizer_path("ll_fer", "A7", "faces", tmp_path), Parameters(**WHICH), record, "")
    assert "Figures of the record, of the weights before rounding" in card
    assert f"| accuracy | {100 * record.metrics['accuracy']:.1f} |" in card
    assert "because the test part was not at hand" in card and "chosen by looking at these same faces" in card


def test_an_interval_is_given_only_where_there_is_one(tool):
    right = {"happiness": 40, "surprise": 20, "fear": 0, "contempt": 10}
    confusion = [[0] * 8 for _ in range(8)]
    values, intervals = {"accuracy": 0.5}, {"accuracy": (0.4, 0.6)}
    for name, faces in {"happiness": 60, "surprise": 20, "fear": 40, "contempt": 26}.items():
        k = NAMES.index(name)
        confusion[k][k], confusion[k][0] = right[name], faces - right[name]
        values[f"recall_{name}"], intervals[f"recall_{name}"] = right[name] / faces, (0.1, 0.9)
    lines = tool.figures_table(Scores(values, intervals, confusion)).splitlines()
    assert lines[2:] == [
        "| accuracy | 50.0 | 40.0 to 60.0 | 146 |",
        "| happiness | 66.7 | 10.0 to 90.0 | 60 |",
        "| surprise | 100.0 | none: every face was named right | 20 |",
        "| fear | 0.0 | none: no face was named right | 40 |",
        "| contempt | 38.5 | none: too few faces | 26 |",
    ]


def test_what_is_missing_stale_or_too_large_is_said(tool, done, tmp_path, monkeypatch):
    with pytest.raises(FerError, match="There is no record"):
        tool.keep_recognizers(tmp_path, {}, tmp_path)
    (tmp_path / "a.safetensors").write_bytes(b"x" * 1_400_000)
    tool.check_sizes(tmp_path)
    (tmp_path / "b.safetensors").write_bytes(b"x" * 1_600_000)
    with pytest.raises(FerError, match="b.safetensors has 1.6 MB, more than 1.5: keep a smaller network"):
        tool.check_sizes(tmp_path)
    (tmp_path / "b.safetensors").unlink()
    for k in range(6):
        (tmp_path / f"{k}.safetensors").write_bytes(b"x" * 1_400_000)
    with pytest.raises(FerError, match="The weights have 9.8 MB together, more than 8"):
        tool.check_sizes(tmp_path)
    with pytest.raises(FerError, match="Say what to keep"):
        tool.main(["everything"])
    monkeypatch.setattr("fer_lib.record.sources", lambda *which: "other")
    monkeypatch.setattr(tool, "RECOGNIZERS", (WHICH,))
    with pytest.raises(FerError, match="is stale: run it again before its weights are kept"):
        tool.keep_recognizers(done.path.parent.parent, {}, tmp_path)
