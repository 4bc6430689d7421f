"""Which stale records are confirmed: those whose row gives the same to the last bit, made by BASE's code."""

import importlib.util
import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from fer_lib.record import RESULTS, find_records, read_record
from fer_lib.sources import sources

ROOT = Path(__file__).resolve().parent.parent
KEY = ("baseline", "R0", "faces")


@pytest.fixture
def tool(monkeypatch):
    spec = importlib.util.spec_from_file_location("confirm", ROOT / "tools" / "confirm.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "subprocess", SimpleNamespace(run=lambda *args, **options: None))
    return module


@pytest.fixture
def folder(tmp_path):
    """A record made by the code "old", one by still older code, one that is valid."""
    path, record = next(iter(find_records(RESULTS, method="baseline", row="R0", dataset="faces").items()))
    for seed, made_by in enumerate(("old", "older", sources("baseline", "faces"))):
        text = json.dumps(record.model_dump() | {"seed": seed, "sources": made_by, "confirmed": ""})
        (tmp_path / f"R0-faces-quick-seed{seed}.json").write_text(text)
    return tmp_path


def run(tool, folder, monkeypatch, **change):
    same = dict.fromkeys((*tool.COMPARED, "weights"), "equal") | {"parameters": {"lr": 0.1}}
    found = [{KEY: {"sources": "old", **same}}, {KEY: {"sources": sources("baseline", "faces"), **same, **change}}]
    monkeypatch.setattr(tool, "outcomes", lambda tree, keys, data, changed: found[tree == ROOT])
    left = tool.confirm("BASE", folder, {}, "")
    return left, [read_record(folder / f"R0-faces-quick-seed{seed}.json") for seed in range(3)]


def test_what_agrees_is_renewed_and_nothing_else(tool, folder, monkeypatch, capsys):
    before = [path.read_text() for path in sorted(folder.iterdir())]
    left, records = run(tool, folder, monkeypatch)
    assert left == 1 and [r.stale() for r in records] == [False, True, False]
    assert records[0].confirmed and not records[1].confirmed and not records[2].confirmed
    said = capsys.readouterr().out
    assert "seed1 stays stale: was not valid at BASE either" in said and "1 of 2 stale records confirmed" in said
    assert [path.read_text() for path in sorted(folder.iterdir())][1:] == before[1:]
    old, new = json.loads(before[0]), records[0].model_dump()
    assert {name for name in old if json.loads(json.dumps(new[name])) != old[name]} == {"sources", "confirmed"}


def test_a_parameter_that_is_new_is_added_and_one_that_changed_is_not_passed_over(tool, folder, monkeypatch, capsys):
    left, records = run(tool, folder, monkeypatch, parameters={"lr": 0.1, "gate": "new"})
    assert left == 1 and records[0].parameters["gate"] == "new" and "gate" not in records[1].parameters
    assert records[0].parameters["lr"] != 0.1, "what the record knows of its own run stays"


def test_what_differs_stays_stale_and_is_named(tool, folder, monkeypatch, capsys):
    left, records = run(tool, folder, monkeypatch, weights="other", history="other")
    assert left == 2 and records[0].stale()
    assert "seed0 stays stale: now differs in history, weights" in capsys.readouterr().out
    left, records = run(tool, folder, monkeypatch, parameters={"lr": 0.2})
    assert left == 2 and "now differs in parameters" in capsys.readouterr().out


def test_a_child_runs_the_tree_that_it_is_given(tool, tmp_path, monkeypatch):
    """A tree whose learning rate falls another way has other sources, another history and other weights."""
    monkeypatch.undo()
    shutil.copytree(ROOT / "fer_lib", tmp_path / "fer_lib", ignore=shutil.ignore_patterns("__pycache__"))
    schedule = tmp_path / "fer_lib" / "recipe.py"
    schedule.write_text(schedule.read_text().replace("return 0.5 * (1 + math.cos", "return 0.4 * (1 + math.cos"))
    here, there = (tool.outcomes(tree, [KEY], {}, "precision=bf16")[KEY] for tree in (ROOT, tmp_path))
    assert here["sources"] == sources("baseline", "faces") and here.keys() == {"sources", "weights", "parameters", *tool.COMPARED}
    assert here["parameters"]["precision"] == "bf16"
    differ = {name for name in here if here[name] != there[name]}
    assert {"sources", "history", "weights"} <= differ and not differ & {"parameters", "fingerprint", "labels"}


def test_the_command_line_hands_on_what_is_set(tool, monkeypatch):
    heard = []
    monkeypatch.setattr(tool, "confirm", lambda *given: heard.append(given) or 0)
    monkeypatch.setattr("sys.argv", ["confirm.py", "BASE", "--set", "precision=fp32", "--set", "lr=0.1", "--data", "ferplus=here"])
    assert tool.main() == 0 and heard == [("BASE", RESULTS, {"ferplus": "here"}, "precision=fp32 lr=0.1")]
