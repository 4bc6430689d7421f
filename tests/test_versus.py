"""Two rows against each other, whichever way it falls, and what cannot be compared."""

import json

import pytest
from test_show import record

from fer_lib import versus
from fer_lib.errors import FerError


def test_verdict_says_better_worse_and_not_clear():
    better = [record("A", s, 60) for s in range(3)] + [record("B", s, 80 + s) for s in range(3)]
    text = versus.verdict(better, "A", "B")
    assert "**B against A:** +21.0 points" in text and "over 3 seeds, which leaves out zero" in text
    assert "0 to 20 (p = 1.9e-06)" in text
    assert "-21.0 points" in versus.verdict(better, "B", "A")
    mixed = [record("A", s, 60) for s in range(3)] + [record("B", s, 60 + d) for s, d in enumerate((-9, 8, 2))]
    assert "which includes zero: no clear difference" in versus.verdict(mixed, "A", "B")


def test_verdict_compares_the_seeds_that_both_rows_have():
    one = versus.verdict([record("A", 0, 60), record("A", 1, 60), record("B", 0, 70)], "A", "B")
    assert "+10.0 points of accuracy, one seed, so no interval. Faces" in one and "nan" not in one
    assert "over 2 seeds" in versus.verdict([record(row, s, 50 + s) for row, n in (("A", 3), ("B", 2)) for s in range(n)], "A", "B")


def test_verdict_refuses_what_cannot_be_compared():
    apart = [record("A", 0, 60), record("B", 1, 60)]
    assert versus.verdict(apart, "A", "B") == "**B against A:** not recorded yet."
    with pytest.raises(FerError, match="with a common seed"):
        versus.versus(apart, "A", "B")
    runs = [record(row, s, 60) for row in "AB" for s in range(2)]
    runs[0].fingerprint = {"test": "other"}
    with pytest.raises(FerError, match="measured on different faces"):
        versus.verdict(runs, "A", "B")


def test_verdict_takes_the_folds_of_a_seed_together():
    runs = []
    for row, figures in {"A": (50, 60, 60), "B": (90, 90, 60)}.items():
        for seed in (0, 1):
            for fold, right in enumerate(figures):
                run = record(row, seed, right)
                run.fold, run.fingerprint = fold, {"test": f"fold {fold}"}
                runs.append(run)
    text = versus.verdict(runs, "A", "B")
    assert "+23.3 points" in text and "0 to 70 (p" in text
    with pytest.raises(FerError, match="Two records of baseline B on faces, seed 1, fold 2: compare one kind"):
        versus.verdict([*runs, runs[-1]], "A", "B")
    with pytest.raises(FerError, match="measured on different faces"):
        versus.verdict(runs[:-1], "A", "B")


def test_the_table_reads_interval_and_tests_together():
    runs = [record("A", s, 60 + s) for s in range(3)] + [record("B", s, 80 + s) for s in range(3)]
    text = versus.verdicts(runs, [("A", "B"), ("B", "A"), ("A", "C")])
    lines = text.split("\n")
    assert "| B − A | +20.0 [+20.0,\N{NO-BREAK SPACE}+20.0] | 20\N{NO-BREAK SPACE}:\N{NO-BREAK SPACE}0" in lines[2] and lines[2].endswith("| **clear** |")
    assert "| A − B | -20.0" in lines[3] and lines[-1] == "**C against A:** not recorded yet."
    assert versus.verdicts(runs, [("A", "C")]) == "**C against A:** not recorded yet."


@pytest.mark.parametrize(
    ("first", "second", "reading"),
    [
        ((60, 61, 62), (62, 63, 64), "interval alone"),  # two faces more in each seed: no test notices
        ((50, 50, 50), (60, 70, 95), "tests alone"),
        ((60, 61, 62), (80, 40, 62), "not clear"),
        ((60,), (80,), "one seed"),
    ],
)
def test_what_speaks_for_a_difference_is_named(first, second, reading):
    runs = [record(row, s, x) for row, values in (("A", first), ("B", second)) for s, x in enumerate(values)]
    assert versus.versus(runs, "A", "B").reading == reading
    runs[0].device = "x86_64 cpu, 1 thread, bf16"
    assert versus.versus(runs, "A", "B").reading == f"{reading}, in two precisions"


def test_a_reading_names_where_there_is_more_less_and_nothing():
    def run(row, seed, figures):
        one = record(row, seed, 50)
        one.mechanism = {str(k): x for k, x in enumerate(figures)}
        return one

    runs = [run("A", s, (1.0 + s, 1.0, 1.0 + s)) for s in range(3)]
    runs += [run("B", s, (2.0 + s, (0.0, 1.0, 2.0)[s], 0.5 + s)) for s in range(3)]
    figures = {"stage 1": "0", "stage 2": "1", "stage 3": "2"}
    assert versus.gain_reading(runs, "A", "B", figures) == "B against A: more at stage 1 and less at stage 3; elsewhere no clear difference."
    assert versus.gain_reading(runs, "A", "B", {"stage 2": "1"}) == "B against A: no clear difference anywhere."
    assert versus.gain_reading(runs, "A", "B", {"stage 1": "0"}) == "B against A: more at stage 1."
    assert versus.gain_reading(runs, "A", "C", figures) == "C against A: not recorded yet."


def test_a_network_with_its_mirror_images_is_a_row_beside_its_record(tmp_path):
    runs = [record("R0", s, 60) for s in range(2)]
    named = runs[1].labels  # all right
    about = {name: getattr(runs[1], name) for name in ("method", "row", "dataset", "profile", "seed")}
    worth = {which: {"with mirror": {"values": {"accuracy": figure}}} for which, figure in (("all", 1.0), ("clear", 0.9))}
    for run in runs:
        run.fingerprint = {"test": "known"}
    found = {"network": about, "dataset": "faces", "split": "test", "fingerprint": "known", "scores": worth, "named": {"batch 64": runs[1].predicted, "with mirror": named}}
    (tmp_path / "one.json").write_text(json.dumps(found))
    once, twice = versus.with_mirror(runs, tmp_path)
    assert once is runs[1] and (twice.row, twice.metrics) == ("R0 twice", {"accuracy": 1.0, "accuracy_clear": 0.9})
    assert "+40.0 points" in versus.verdict([once, twice], "R0", "R0 twice") and "0 to 40" in versus.verdict([once, twice], "R0", "R0 twice")
    (tmp_path / "one.json").write_text(json.dumps(found | {"named": {"batch 64": named, "with mirror": named}}))
    assert versus.with_mirror([runs[0], runs[1].model_copy(update={"fingerprint": {"test": "other fold"}})], tmp_path) == []
    with pytest.raises(FerError, match="one.json names 40 faces otherwise than the record of baseline R0, seed 1"):
        versus.with_mirror(runs, tmp_path)
