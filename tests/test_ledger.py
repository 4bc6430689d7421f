"""Records as a table: filtered, exported whole or not at all, promoted if they are what their name says."""

import json

import pandas as pd
import pytest

from fer_lib import __main__ as command
from fer_lib.__main__ import main
from fer_lib.errors import FerError
from fer_lib.ledger import export, ledger, promote
from fer_lib.record import RESULTS, find_records


def test_filters_and_columns():
    found = find_records(RESULTS, method="baseline", dataset="faces", row="R1")
    assert len(found) == 3 and {path.parent.name for path in found} == {"baseline"}
    table = ledger(found.values())
    assert table.seed.tolist() == [0, 1, 2] and (table.accuracy > 50).all() and not table.stale.any()
    assert list(ledger([]).columns) == list(table.columns)


@pytest.mark.parametrize("ending, read", [(".csv", pd.read_csv), (".parquet", pd.read_parquet)])
def test_exports_read_back(tmp_path, ending, read):
    table = ledger(find_records(RESULTS, row="R1").values())
    export(table, tmp_path / f"all{ending}")
    assert read(tmp_path / f"all{ending}").accuracy.tolist() == table.accuracy.tolist()
    assert [p.name for p in tmp_path.iterdir()] == [f"all{ending}"]


def test_faults_in_one_sentence(tmp_path):
    with pytest.raises(FerError, match=r"cannot be exported: let its name end in .csv or .parquet"):
        export(ledger([]), tmp_path / "all.xls")
    with pytest.raises(FerError, match="could not be written"):
        export(ledger([]), tmp_path / "no" / "all.csv")


def test_the_command_lists_filters_and_says_what_is_missing(tmp_path, capsys):
    path = next(iter(find_records(RESULTS, row="R1")))
    old = tmp_path / "R1-faces-quick-seed7.json"
    old.write_text(json.dumps(json.loads(path.read_text()) | {"sources": "0", "seed": 7}))
    (tmp_path / path.name).write_text(path.read_text())
    assert main(["records", str(tmp_path), "--row", "R1"]) == 0
    said = capsys.readouterr().out
    assert len(said.splitlines()) == 3 and "overrides" not in said
    (tmp_path / path.name).write_text(path.read_text().replace('"overrides": ""', '"overrides": "lr=1"'))
    assert main(["records", str(tmp_path), "--row", "R1"]) == 0 and "lr=1" in capsys.readouterr().out
    assert main(["records", str(tmp_path), "--stale"]) == 0
    (line,) = capsys.readouterr().out.splitlines()[1:]
    assert " 7 " in line and line.endswith("True")
    assert main(["records", str(tmp_path), "--row", "R9"]) == 0 and capsys.readouterr().out == "No such record.\n"
    assert main(["records", str(tmp_path / "no")]) == 2 and "There is no folder" in capsys.readouterr().err


def test_the_command_exports_and_promotes(tmp_path, monkeypatch, capsys):
    found = find_records(RESULTS, method="baseline", row="R1", dataset="faces")
    for path, record in found.items():
        (tmp_path / path.name).write_text(json.dumps(record.model_dump() | {"seed": record.seed + 5}))
    monkeypatch.setattr(command, "promote", lambda records: promote(records, tmp_path / "results"))
    table = tmp_path / "all.csv"
    assert command.main(["records", str(tmp_path), "--row", "R1", "--export", str(table), "--promote"]) == 0
    assert sorted(pd.read_csv(table).seed) == [5, 6, 7]
    assert len(find_records(tmp_path / "results")) == 3 and "3 records copied to" in capsys.readouterr().out


def test_promotion_copies_what_is_valid_and_refuses_the_rest(tmp_path):
    path = next(iter(find_records(RESULTS, row="R1")))
    runs, results = tmp_path / "runs" / "baseline", tmp_path / "results"
    runs.mkdir(parents=True)
    copy = runs / path.name
    copy.write_text(path.read_text())
    assert promote(find_records(runs), results) == [results / "baseline" / path.name]
    assert (results / "baseline" / path.name).read_text() == path.read_text()
    good = json.loads(path.read_text())
    for change, sentence in [
        ({"sources": "0"}, "is stale: run it again"),
        ({"parameters": good["parameters"] | {"overrides": "lr=1"}}, "has overrides"),
    ]:
        copy.write_text(json.dumps(good | change))
        with pytest.raises(FerError, match=sentence):
            promote(find_records(runs), tmp_path / "other")
    assert not (tmp_path / "other").exists()
