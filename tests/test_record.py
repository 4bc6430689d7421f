"""Records: whole or absent, read back as written, stale when and only when the sources that matter change."""

import json
import os
import random
import shutil
import signal
import time

import pytest

from fer_lib import record as module
from fer_lib import sources as origin
from fer_lib.errors import FerError
from fer_lib.methods import METHODS
from fer_lib.record import Record, read_record, read_records, record_path, summarize, write_record
from fer_lib.sources import _bare, sources


def place(tmp_path, record):
    name = f"{record.row}-{record.dataset}-{record.profile}-seed{record.seed}"
    return write_record(record, record_path(tmp_path, record.method, name))


def make(row="R0", seed=0, accuracy=0.8, **changes):
    fields = dict(
        method="baseline", row=row, dataset="faces", profile="smoke", fold=0, seed=seed, split="test",
        alignment="as drawn", parameters={"lr": 0.1},
        fingerprint={"train": "ab"}, metrics={"accuracy": accuracy, "macro_recall": accuracy}, intervals={"accuracy": (0.7, 0.9)},
        confusion=[[1, 0], [0, 1]], chosen={"epoch": 1, "metrics": {}, "intervals": {}}, labels="0011", predicted="0010", history=[{"epoch": 1}],
        cost={"seconds": 1.0}, device="cpu", versions={"torch": "x"}, sources=sources("baseline", "faces"), commit="", finished="",
    )  # fmt: skip
    return Record(**fields | changes)


def test_written_and_read_back(tmp_path):
    path = place(tmp_path, make())
    assert path == tmp_path / "baseline" / "R0-faces-smoke-seed0.json"
    assert read_record(path) == make()
    assert [p.name for p in path.parent.iterdir()] == [path.name]
    assert read_record(path).hits().tolist() == [True, True, True, False]


def test_a_write_that_fails_leaves_nothing(tmp_path, monkeypatch):
    def full(*paths):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module.os, "replace", full)
    with pytest.raises(FerError, match="could not be written \\(No space left on device\\)"):
        place(tmp_path, make())
    assert not list((tmp_path / "baseline").iterdir())


def test_a_writer_that_is_killed_leaves_whole_records(tmp_path):
    """SIGKILL at random moments while one process writes the same record over and over."""
    record = make(predicted="0" * 1_000_000)
    path = place(tmp_path, record)
    for _ in range(20):
        writer = os.fork()
        if writer == 0:
            while True:
                write_record(record, path)
        time.sleep(random.uniform(0, 0.1))
        os.kill(writer, signal.SIGKILL)
        os.waitpid(writer, 0)
        assert read_record(path) == record
    assert [found.name for found in tmp_path.rglob("*.json")] == [path.name]


def test_not_a_number_is_never_written(tmp_path):
    with pytest.raises(FerError, match="was not written: a figure in it is not a number"):
        place(tmp_path, make(accuracy=float("nan")))
    assert not list(tmp_path.rglob("*.json"))


def test_damaged_and_missing(tmp_path):
    path = place(tmp_path, make())
    path.write_text(path.read_text()[:100])
    with pytest.raises(FerError, match="is damaged or of another version: delete it"):
        read_record(path)
    with pytest.raises(FerError, match="There is no record"):
        read_record(tmp_path / "none.json")
    path.write_text(json.dumps(make().model_dump() | {"surprise": 1}))
    with pytest.raises(FerError, match="damaged or of another version"):
        read_records(tmp_path)


def test_records_are_found_by_their_fields_and_summarized(tmp_path):
    for seed, accuracy in enumerate((0.80, 0.82, 0.84)):
        place(tmp_path, make(seed=seed, accuracy=accuracy))
    place(tmp_path, make(row="R1", accuracy=0.5))
    assert len(read_records(tmp_path)) == 4
    assert [r.seed for r in read_records(tmp_path, row="R0")] == [0, 1, 2]
    table = summarize(read_records(tmp_path)).set_index("row")
    assert table.loc["R0", "seeds"] == 3 and table.loc["R0", "accuracy"] == pytest.approx(82)
    assert table.loc["R0", "accuracy_high"] - 82 == pytest.approx(4.97, abs=0.01)


def test_folds_of_a_seed_count_once_with_their_mean():
    runs = [make(seed=s, fold=f, accuracy=a) for s, f, a in [(0, 0, 0.5), (0, 1, 0.7), (1, 0, 0.6), (1, 1, 1.0)]]
    line = summarize(runs).iloc[0]
    assert (line["seeds"], line["accuracy"]) == (2, pytest.approx(70))
    with pytest.raises(FerError, match="Two records of baseline R0 on faces, seed 0, fold 1"):
        summarize([*runs, make(seed=0, fold=1, accuracy=0.9, parameters={"overrides": "lr=1"})])


def test_sources_change_with_code_and_not_with_words(tmp_path, monkeypatch):
    library = tmp_path / "fer_lib"
    for name in ("methods/a.py", "methods/b.py", "data/faces.py", "train.py", "evaluate.py", "run.py", "nets/c.py"):
        (library / name).parent.mkdir(parents=True, exist_ok=True)
        (library / name).write_text('"""Words."""\n\nx = 1\n')
    (library / "methods/a.py").write_text("from fer_lib.nets.c import x\nfrom fer_lib.nets import c\n")
    monkeypatch.setattr(origin, "LIBRARY", library)
    first, other = sources("a", "faces"), sources("b", "faces")
    (library / "methods/b.py").write_text("x = 2\n")
    assert sources("a", "faces") == first and sources("b", "faces") != other
    (library / "nets/c.py").write_text('"""Other words."""\n\nx = 1  # a remark\n')
    assert sources("a", "faces") == first
    (library / "nets/c.py").write_text('"""Words."""\n\nx = 3\n')
    assert sources("a", "faces") != first


@pytest.mark.parametrize(
    ("module", "touched"),
    [
        ("methods/clcl.py", {"clcl"}),
        ("methods/lnl.py", {"lnl"}),
        ("train.py", set(METHODS)),
        ("sweep.py", set()),
    ],
)
def test_an_edited_module_makes_exactly_the_runs_stale_that_rest_on_it(tmp_path, monkeypatch, module, touched):
    """On the true library: an edited ``clcl.py`` makes the runs of clcl stale, and those of lnl stay."""
    shutil.copytree(origin.LIBRARY, tmp_path / "fer_lib", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(origin, "LIBRARY", tmp_path / "fer_lib")
    records = [make(method=method, sources=sources(method, "faces")) for method in METHODS]
    assert not any(record.stale() for record in records)
    with (tmp_path / "fer_lib" / module).open("a") as source:
        source.write("\nEDITED = True\n")
    assert {record.method for record in records if record.stale()} == touched


def test_a_new_row_leaves_the_others_valid():
    text = "def _rows():\n    return {'A': 1}\n\nclass M:\n    ROWS = _rows()\n    OTHER = 2\n"
    assert _bare(text) == _bare(text.replace("'A': 1", "'A': 1, 'B': 2")) == "class M:\n    OTHER = 2"
    assert _bare(text.replace("= _rows()", "= {\n        'C': 3,\n    }")) == "class M:\n    OTHER = 2"


def test_bare_code():
    text = '"""Doc."""\n\ndef f():\n    """More\n    doc."""\n    return "# kept"  # gone\n'
    assert _bare(text) == 'def f():\n    return "# kept"'


def test_stale():
    assert not make().stale() and make(sources="old").stale()
