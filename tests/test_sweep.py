"""Sweep files: every fault is said before the first run, with its line."""

import shlex
import subprocess
from pathlib import Path
from types import SimpleNamespace

import matplotlib.pyplot as plt
import nbformat
import pytest
import torch
from tiny_ferplus import ferplus
from trivial_book import write_book

from fer_lib import __main__ as command
from fer_lib import run as run_module
from fer_lib import sweep
from fer_lib.errors import FerError
from fer_lib.methods import METHODS
from fer_lib.record import read_records
from fer_lib.sweep import find_sweep, read_sweep


def write(tmp_path, text):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    return path


def test_rows_times_seeds_times_folds_each_once(tmp_path):
    path = write(tmp_path, "baseline:\n- {rows: [R0, R1], seeds: [0, 2]}\n- {rows: [R0], seeds: [2], profile: smoke}\n")
    names = [run.name for run in read_sweep(path, tmp_path)]
    assert names == [
        "R0-faces-quick-seed0", "R1-faces-quick-seed0", "R0-faces-quick-seed2", "R1-faces-quick-seed2", "R0-faces-smoke-seed2",
    ]  # fmt: skip
    everything = read_sweep(write(tmp_path, "ll_fer: {rows: all, seeds: [0]}\n"), tmp_path)
    assert {run.row for run in everything} >= {"A0", "A10-task-double"}
    fewer = read_sweep(write(tmp_path, "ll_fer: {rows: all, without: [A0, A1], seeds: [0]}\n"), tmp_path)
    assert {run.row for run in everything} - {run.row for run in fewer} == {"A0", "A1"}


@pytest.mark.parametrize(
    "text, sentence",
    [
        ("baselin: {rows: [R0]}", r"line 1: There is no method 'baselin'"),
        ("baseline:\n  rows: [R0]\n  sedes: [1]", r"line 3: There is no 'sedes' in a sweep: did you mean 'seeds'"),
        ("baseline:\n- rows: [R0]\n- rows: [R0, R9]", r"line 3: baseline has no row 'R9'"),
        ("baseline:\n  rows: all\n  without: [R9]", r"line 3: Parameter without cannot be 'R9': baseline has the rows R0, R1"),
        ("baseline:\n  rows: [R0]\n  without: [R0]", r"line 3: Parameter without goes with `rows: all` only"),
        ("baseline:\n  seeds: [0]", r"line 1: rows is missing: write for example"),
        ("baseline:\n  rows: [R0]\n  seeds: [x]", r"line 3: 0 cannot be 'x': input should be a valid integer"),
        ("baseline:\n  rows: [R0]\n  overrides: epoch=3", r"line 3: There is no parameter 'epoch': did you mean 'epochs'"),
        ("baseline:\n  rows: [R0]\n  profile: fast", r"line 3: Parameter profile cannot be 'fast'"),
        ("baseline: {rows: [R0], dataset: ferplus, data: /nowhere}", r"line 1: ferplus: .*nowhere does not exist"),
        ("baseline:\n- {rows: [R0]}\n- rows: [R0]\n  dataset: sfew\n  data: /nowhere", r"line 5: sfew: .*nowhere does not exist"),
        ("baseline: {rows: [R0], dataset: ferplus, data: $NO_SUCH/x}", r"line 1: Parameter data cannot be '.NO_SUCH/x'"),
        ("baseline: [", r"cannot be read as YAML"),
        ("- baseline", r"has no method"),
    ],
)
def test_faults_are_said_with_their_line(tmp_path, text, sentence):
    with pytest.raises(FerError, match=sentence):
        read_sweep(write(tmp_path, text), tmp_path)


@pytest.mark.parametrize(
    "text, sentence",
    [
        ("baseline:\n  rows: [R0]\n  folds: [1]", r"line 3: faces: faces has .* fold must be 0, not 1"),
        ("baseline:\n  rows: [R0]\n  dataset: ferplus\n  data: $FERPLUS\n  folds: [0, 2]", r"line 5: ferplus: There is no fold 2 of ferplus"),
        ("err_net:\n  dataset: ferplus\n  data: $FERPLUS\n  rows: [E5]", r"line 4: ferplus: err_net row E5 needs \w+, which ferplus does not have"),
    ],
)
def test_what_the_faces_lack_is_said_before_the_first_run(tmp_path, monkeypatch, text, sentence):
    monkeypatch.setenv("FER_LIB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("FERPLUS", str(ferplus(tmp_path / "ferplus")))
    with pytest.raises(FerError, match=sentence):
        read_sweep(write(tmp_path, text), tmp_path)


def test_all_faults_at_once(tmp_path):
    with pytest.raises(FerError) as caught:
        read_sweep(write(tmp_path, "baseline:\n- {rows: [R7]}\n- {rows: [R8]}\nnobody: {rows: all}\n"), tmp_path)
    assert len(str(caught.value).splitlines()) == 3


def test_a_chapter_must_have_every_parameter(tmp_path, monkeypatch):
    monkeypatch.setattr(sweep, "CHAPTERS", write_book(tmp_path / "book", tmp_path / "runs"))
    notebook = nbformat.read(path := sweep.chapter("baseline"), as_version=4)
    notebook.cells[0].source = notebook.cells[0].source.replace("fold = 0\n", "")
    nbformat.write(notebook, path)
    with pytest.raises(FerError, match=r"baseline.ipynb has no fold in its parameters cell"):
        read_sweep(write(tmp_path, "baseline: {rows: [R0]}"), tmp_path)


def test_a_chapter_must_say_what_belongs_to_a_run(tmp_path, monkeypatch):
    monkeypatch.setattr(sweep, "CHAPTERS", write_book(tmp_path / "book", tmp_path / "runs"))
    path = sweep.chapter("baseline")
    # A cascade starts from the baseline, whose chapter is looked at, too.
    (path.parent / "ll_fer.ipynb").write_bytes(path.read_bytes())
    notebook = nbformat.read(path, as_version=4)
    notebook.cells[1].metadata["tags"] = []
    notebook.cells.append(nbformat.v4.new_markdown_cell("# Title", metadata={"tags": ["run"]}))
    nbformat.write(notebook, path)
    for text in ("baseline: {rows: [R0]}", "ll_fer: {rows: [A7]}"):
        with pytest.raises(FerError, match=r"baseline.ipynb has no code cell tagged `run`: give this tag"):
            read_sweep(write(tmp_path, text), tmp_path)


@pytest.mark.parametrize("method", METHODS)
def test_the_cells_of_a_run_need_none_of_the_page(method, monkeypatch):
    asked, record = [], read_records(method=method, dataset="faces", profile="quick")[0]
    made = SimpleNamespace(record=record, method=torch.nn.Identity())
    monkeypatch.setattr(run_module, "run", lambda parameters, **_: asked.append(parameters) or made)
    cells = [c for c in nbformat.read(sweep.chapter(method), as_version=4).cells if {"parameters", "run"} & set(c.metadata.get("tags", ()))]
    assert cells[0].source.startswith("# "), "the executed notebook has the chapter's title"
    told = {}
    for cell in cells:
        if cell.cell_type == "code":
            exec(cell.source, told)
    assert [p.method for p in asked] == [method] and len(plt.get_fignums()) >= 1
    plt.close("all")


def test_unknown_sweeps_are_answered_with_the_known_ones():
    with pytest.raises(FerError, match=r"There is no sweep .*nothing.yaml: choose one of .*smoke"):
        find_sweep("nothing")


def test_the_smoke_sweep_runs_every_chapter_once(tmp_path):
    runs = read_sweep(find_sweep("smoke"), tmp_path)
    assert sorted(run.method for run in runs) == sorted(METHODS) and {run.profile for run in runs} == {"smoke"}


def test_the_sweeps_of_the_repository_are_sound(monkeypatch):
    monkeypatch.setenv("FERPLUS", "ferplus.zip")
    monkeypatch.setenv("LONDON", "london.zip")
    monkeypatch.setenv("FACIAL_EXPRESSIONS", "facial_expressions.zip")
    monkeypatch.setattr(sweep, "_unreadable", lambda run: "")
    for path in sorted(sweep.SWEEPS.glob("*.yaml")):
        assert read_sweep(path)


@pytest.mark.parametrize("options", ["", "--resources gpu=2 --workflow-profile 'a b'"])
def test_make_hands_options_on_to_snakemake(monkeypatch, options):
    """What ``make rerun`` types, read by the command line: names before ``--``, snakemake's options behind it."""
    words = ["make", "-n", "--no-print-directory", "-o", "install", "rerun", "SWEEP=clcl", "CORES=2", "OUT=there", f"ARGS={options}"]
    typed = subprocess.run(words, cwd=sweep.ROOT, capture_output=True, text=True, check=True).stdout
    given = []
    monkeypatch.setattr(command, "rerun", lambda *arguments: given.append(arguments) or 0)
    assert command.main(shlex.split(typed)[3:]) == 0
    assert given == [("clcl", Path("there"), 2, tuple(shlex.split(options)))]


def test_only_a_rerun_hands_options_on(capsys):
    with pytest.raises(SystemExit):
        command.main(["records", "runs", "--", "--resources", "gpu=2"])
    assert "only rerun hands on what follows --: leave out --resources gpu=2" in capsys.readouterr().err
