"""Sweep files: every fault said before the first run; what is finished stays, what changed runs again, one failure is alone."""

import json
import shlex
import subprocess
from pathlib import Path

import nbformat
import pytest

from fer_lib import __main__ as command
from fer_lib import sweep
from fer_lib.errors import FerError
from fer_lib.parameters import Parameters
from fer_lib.record import read_records, record_path
from fer_lib.sources import sources
from fer_lib.sweep import find_sweep, read_sweep, rerun, unfinished

# A chapter that trains nothing: it writes the record that a run of this seed would have written.
CODE = """
import json
from pathlib import Path
import os
if seed == 1:
    raise RuntimeError("this face cannot be read")
record = json.loads(Path(os.environ["TEMPLATE"]).read_text()) | {"seed": seed}
path = Path(out) / method / f"{row}-{dataset}-{profile}-seed{seed}.json"
path.with_suffix(".safetensors").touch()
path.write_text(json.dumps(record))
"""


@pytest.fixture
def book(tmp_path, monkeypatch, template):
    """The trivial chapter in place of all chapters."""
    parameters = "\n".join(f"{name} = {value!r}" for name, value in Parameters().model_dump().items())
    cells = [nbformat.v4.new_code_cell(parameters, metadata={"tags": ["parameters"]}), nbformat.v4.new_code_cell(CODE)]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    path = tmp_path / "chapter.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), path)
    monkeypatch.setattr(sweep, "chapter", lambda method: path)
    monkeypatch.setenv("TEMPLATE", str(template))
    return path


@pytest.fixture
def template(tmp_path):
    """A valid record of the baseline at smoke."""
    record = read_records(method="baseline", row="R0", dataset="faces", profile="quick")[0]
    changes = {"profile": "smoke", "parameters": Parameters(profile="smoke").meant(), "sources": sources("baseline", "faces")}
    path = tmp_path / "template.json"
    path.write_text(json.dumps(record.model_dump() | changes))
    return path


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


@pytest.mark.parametrize(
    "text, sentence",
    [
        ("baselin: {rows: [R0]}", r"line 1: There is no method 'baselin'"),
        ("baseline:\n  rows: [R0]\n  sedes: [1]", r"line 3: There is no 'sedes' in a sweep: did you mean 'seeds'"),
        ("baseline:\n- rows: [R0]\n- rows: [R0, R9]", r"line 3: baseline has no row 'R9'"),
        ("baseline:\n  seeds: [0]", r"line 1: rows is missing: write for example"),
        ("baseline:\n  rows: [R0]\n  seeds: [x]", r"line 3: 0 cannot be 'x': input should be a valid integer"),
        ("baseline:\n  rows: [R0]\n  overrides: epoch=3", r"line 3: There is no parameter 'epoch': did you mean 'epochs'"),
        ("baseline:\n  rows: [R0]\n  profile: fast", r"line 3: Parameter profile cannot be 'fast'"),
        ("baseline: {rows: [R0], dataset: ferplus, data: /nowhere}", r"ferplus: .*nowhere does not exist"),
        ("baseline: {rows: [R0], dataset: ferplus, data: $NO_SUCH/x}", r"line 1: Parameter data cannot be '.NO_SUCH/x'"),
        ("baseline: [", r"cannot be read as YAML"),
        ("- baseline", r"has no method"),
    ],
)
def test_faults_are_said_with_their_line(tmp_path, text, sentence):
    with pytest.raises(FerError, match=sentence):
        read_sweep(write(tmp_path, text), tmp_path)


def test_all_faults_at_once(tmp_path):
    with pytest.raises(FerError) as caught:
        read_sweep(write(tmp_path, "baseline:\n- {rows: [R7]}\n- {rows: [R8]}\nnobody: {rows: all}\n"), tmp_path)
    assert len(str(caught.value).splitlines()) == 3


def test_a_chapter_must_have_every_parameter(tmp_path, book):
    notebook = nbformat.read(book, as_version=4)
    notebook.cells[0].source = notebook.cells[0].source.replace("fold = 0\n", "")
    nbformat.write(notebook, book)
    with pytest.raises(FerError, match=r"chapter.ipynb has no fold in its parameters cell"):
        read_sweep(write(tmp_path, "baseline: {rows: [R0]}"), tmp_path)


def test_unknown_sweeps_are_answered_with_the_known_ones():
    with pytest.raises(FerError, match=r"There is no sweep .*nothing.yaml: choose one of .*smoke"):
        find_sweep("nothing")


def test_the_sweeps_of_the_repository_are_sound(monkeypatch):
    monkeypatch.setenv("FERPLUS", "ferplus.zip")
    monkeypatch.setenv("LONDON", "london.zip")
    monkeypatch.setattr(sweep, "_unreadable", lambda runs: [])
    for path in sorted(sweep.SWEEPS.glob("*.yaml")):
        assert read_sweep(path)


def test_what_makes_a_record_invalid(tmp_path, book, template):
    run = Parameters(profile="smoke", out=str(tmp_path))
    path = record_path(tmp_path, "baseline", run.name)
    path.parent.mkdir()
    assert unfinished(run) == "not run yet"
    path.write_text(template.read_text())
    assert unfinished(run) == "its weights are gone"
    path.with_suffix(".safetensors").touch()
    assert unfinished(run) == ""
    nbformat.write(nbformat.read(book, as_version=4), path.with_suffix(".ipynb"))
    assert unfinished(run) == ""
    book.write_text(book.read_text().replace("this face", "that face"))
    assert unfinished(run) == "its chapter has changed"
    path.with_suffix(".ipynb").unlink()
    good = json.loads(path.read_text())
    for change, reason in [
        ({"sources": "0"}, "fer_lib has changed"),
        ({"parameters": good["parameters"] | {"lr": 9.0}}, "its parameters have changed"),
        ({"row": None}, "its record is damaged"),
    ]:
        path.write_text(json.dumps(good | change))
        assert unfinished(run) == reason


def test_one_failure_is_alone_and_what_is_finished_is_not_run_again(tmp_path, book, capfd):
    path, out, said = write(tmp_path, "baseline: {rows: [R0], seeds: [0, 1, 2], profile: smoke}"), tmp_path / "runs", []
    assert rerun(str(path), out, cores=2, log=said.append) == 1
    assert said[0].endswith("0 finished, 3 to do") and said[-1] == "2 of 3 runs made their record"
    assert "FAILED baseline/R0-faces-smoke-seed1" in said[1] and "this face cannot be read" in said[1]
    made = {seed: record_path(out, "baseline", f"R0-faces-smoke-seed{seed}") for seed in (0, 1, 2)}
    times = [made[seed].stat().st_mtime_ns for seed in (0, 2)]
    made[1].write_text(made[0].read_text().replace('"seed": 0', '"seed": 1'))
    made[1].with_suffix(".safetensors").touch()
    assert rerun(str(path), out, log=said.append) == 0 and said[-1] == "0 of 0 runs made their record"
    assert times == [made[seed].stat().st_mtime_ns for seed in (0, 2)]


def test_two_reruns_in_one_folder_are_refused(tmp_path):
    path = write(tmp_path, "baseline: {rows: [R0], profile: smoke}")
    with sweep._alone(tmp_path), pytest.raises(FerError, match="Another rerun is at work in"):
        rerun(str(path), tmp_path)


@pytest.mark.parametrize("options", ["", "--resources gpu=2 --workflow-profile 'a b'"])
def test_make_hands_options_on_to_snakemake(monkeypatch, options):
    """What ``make rerun`` types, read by the command line: names before ``--``, snakemake's options behind it."""
    words = ["make", "-n", "-o", "install", "rerun", "SWEEP=clcl", "CORES=2", "OUT=there", f"ARGS={options}"]
    typed = subprocess.run(words, cwd=sweep.ROOT, capture_output=True, text=True, check=True).stdout
    given = []
    monkeypatch.setattr(command, "rerun", lambda *arguments: given.append(arguments) or 0)
    assert command.main(shlex.split(typed)[3:]) == 0
    assert given == [("clcl", Path("there"), 2, tuple(shlex.split(options)))]


def test_only_a_rerun_hands_options_on(capsys):
    with pytest.raises(SystemExit):
        command.main(["records", "runs", "--", "--resources", "gpu=2"])
    assert "only rerun hands on what follows --: leave out --resources gpu=2" in capsys.readouterr().err
