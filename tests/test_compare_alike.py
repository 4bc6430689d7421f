"""A method beside the plain row of its recipe; and how far other faces would move a difference."""

import numpy as np
from test_compare import noisy, record

from fer_lib import compare
from fer_lib.compare import Pair


def on_photographs(row, seed, right, **parameters):
    made = record(row, seed, right, method="clcl" if row.startswith("B") else "baseline", dataset="ferplus")
    figures = {name: right / 200 for name in ("accuracy", "accuracy_clear", "macro_recall")}
    return made.model_copy(update={"profile": "laptop", "split": "val", "metrics": figures, "parameters": made.parameters | {"target": "hard"} | parameters})


def test_a_method_beside_the_plain_row_is_counted_over_the_seeds_of_both():
    runs = [on_photographs(row, s, n + s) for row, n in (("R0", 100), ("B4-all", 104)) for s in range(3)]
    runs += [on_photographs("R3", 0, 190), runs[0].model_copy(update={"profile": "quick"})]
    (table,), said = compare.beside_plain(runs, "R0", "B4-all")
    assert list(table.data["row"]) == ["R0", "B4-all"] and list(table.data["seeds"]) == [3, 3]
    assert table.data["accuracy (%)"].str.startswith(("50.5", "52.5")).all() and "votes" not in table.caption
    assert "| B4-all − R0 | +2.0" in said[0] and "+2.00 points of macro recall" in said[1] and "Run on cpu" in said[2]


def test_what_was_learned_is_said_only_where_both_rows_learned_it():
    plain, own = on_photographs("R4", 0, 100, target="votes"), on_photographs("B4-votes", 0, 101, target="votes")
    (table,), said = compare.beside_plain([plain, own], "R4", "B4-votes")
    assert "votes as target" in table.caption and not any("recorded yet" in sentence for sentence in said)
    hard = plain.model_copy(update={"parameters": plain.parameters | {"target": "hard"}})
    assert "votes as target" not in compare.beside_plain([hard, own], "R4", "B4-votes")[0][0].caption


def test_without_records_there_is_no_table_and_the_sentences_say_so():
    tables, said = compare.beside_plain([], "R4", "B4-votes")
    assert tables == [] and "not recorded yet" in said[0] and said[1:] == [""]


def test_other_faces_move_the_mean_of_the_seeds_by_what_differs_face_by_face():
    """Of 200 faces each seed gains 20, the same 20 or others: a mean of 0.1, and by hand the deviation over faces."""
    pair = Pair("ll_fer", "A4", "A7", "words")
    same = noisy((20, 20))
    assert np.isclose(compare.over_faces(same, pair), 100 * 1.96 * (0.1 * 0.9 / 199) ** 0.5)
    other = [*same[:3], record("A7", 1, 80)]  # the second seed loses twenty others
    assert np.isclose(compare.over_faces(other, pair), 100 * 1.96 * (0.2 * 0.25 / 199) ** 0.5)
    assert compare.over_faces(noisy((0, 0)), pair) == 0
