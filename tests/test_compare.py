"""The comparison's pairs are fair, and its figures, tables and sentences follow the records, whichever way they fall."""

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

from fer_lib import budgets, claims, compare, show
from fer_lib.claims import Check, Claim
from fer_lib.compare import PAIRS, Pair
from fer_lib.data.loader import Batch
from fer_lib.errors import FerError
from fer_lib.methods import METHODS, owner
from fer_lib.nets.backbone import Backbone
from fer_lib.parameters import Parameters
from fer_lib.record import Record, differences

matplotlib.use("Agg")
LABELS = "01234567" * 25
BUDGET = ("train_images", "val_images", "test_images", "size", "batch_size", "backbone", "lr", "difficulty")
METHODS_COMPARED = {pair.method for some in PAIRS.values() for pair in some}


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def record(row, seed, right, method="ll_fer", seconds=60.0, faces="f", dataset="faces", device="cpu", fold=0, **mechanism):
    """A record in which the first ``right`` of 200 faces are named correctly."""
    said = "".join(t if i < right else "89"[i % 2] for i, t in enumerate(LABELS))
    parameters = {"train_images": 1000, "val_images": 0, "size": 64, "epochs": 6, "batch_size": 32, "backbone": "small", "weights": "", "recognizer": "B4" if row.endswith("B4") else "R0"}
    return Record(
        method=method, row=row, dataset=dataset, profile="quick", fold=fold, seed=seed, split="test", alignment="as drawn",
        labels=LABELS, predicted=said, metrics={"accuracy": right / 200, "macro_recall": right / 200}, confusion=[[1]], intervals={},
        chosen={"epoch": 2, "metrics": {}, "intervals": {}}, history=[], mechanism=mechanism, parameters=parameters, versions={},
        cost={"seconds": seconds, "images_per_second": 600 / max(seconds, 0.01), "parameters": 2e6}, device=device,
        fingerprint={"test": faces}, sources="", commit="", finished="",
    )  # fmt: skip


def rows(spread=(0, 1, 2), **right):
    return [record(row, seed, value + step) for row, value in right.items() for seed, step in enumerate(spread)]


def noisy(gains, first="A4", second="A7"):
    return [record(first, s, 100) for s in range(len(gains))] + [record(second, s, 100 + g) for s, g in enumerate(gains)]


def effect(records, first="A4", second="A7", words="words"):
    (found,) = compare.effects(records, [Pair("ll_fer", first, second, words)])
    return found


ASKED = [(pair, "laptop") for pair in compare.PHOTOGRAPHS] + [(pair, "quick") for some in PAIRS.values() for pair in some]


@pytest.mark.parametrize(("pair", "profile"), ASKED, ids=lambda p: f"{p.second}-{p.first}" if isinstance(p, Pair) else p)
def test_partners_are_rows_with_one_budget(pair, profile):
    methods = [pair.method if row in METHODS[pair.method].ROWS else owner(row) for row in (pair.first, pair.second)]
    both = [Parameters(method=method, row=row, profile=profile).resolve()[0] for method, row in zip(methods, pair[1:3], strict=True)]
    assert len({tuple(getattr(recipe, name) for name in BUDGET) for recipe in both}) == 1
    learned = [recipe.epochs for recipe in both if recipe.epochs > 1]
    assert len(set(learned)) == 1
    assert methods[0] == methods[1] or both[0] == both[1]  # across methods, the whole recipe


def test_no_two_methods_have_a_row_of_the_same_name():
    names = [row for method in METHODS.values() for row in method.ROWS]
    assert len(names) == len(set(names))


@pytest.mark.parametrize(("name", "row"), [("clcl", "B0"), ("lnl", "N0")])
def test_the_plain_rows_are_the_baseline_under_other_names(name, row):
    """So R0 can be the partner of a row of theirs that was trained with its recipe."""
    networks, losses = [], []
    for method, same in (("baseline", "R0"), (name, row)):
        torch.manual_seed(0)
        kind = METHODS[method]
        networks.append(kind(kind.Switches(**kind.ROWS[same]), Backbone("resnet10_narrow", 2, size=32), 8))
        batch = Batch(torch.rand(6, 3, 32, 32), torch.arange(6), torch.arange(6))
        losses.append(networks[-1].losses(batch, "train", "all"))
    ours, theirs = (network.state_dict() for network in networks)
    assert ours.keys() == theirs.keys() and all(torch.equal(ours[key], theirs[key]) for key in ours)
    plain, other = losses
    assert plain.keys() == other.keys() == {"cross-entropy"} and plain["cross-entropy"].weight == other["cross-entropy"].weight
    assert plain["cross-entropy"].value.item() == pytest.approx(other["cross-entropy"].value.item(), rel=1e-6)


def test_every_row_of_a_claim_is_a_row_of_its_method():
    for claim in claims.CLAIMS:
        assert bool(claim.checks) != bool(claim.untested), claim.words
        for check in claim.checks + claim.controls:
            assert {check.first, check.second} <= set(METHODS[claim.method].ROWS), claim.words
    assert all(row in METHODS[method].ROWS for method, row in claims.WHOLE.items())
    assert {claim.method for claim in claims.CLAIMS} == set(claims.WHOLE) == set(METHODS) - {"baseline"}
    assert METHODS_COMPARED == set(compare.TITLES) == set(METHODS)


def test_differences_are_by_seed_and_a_seed_counts_once():
    runs = rows(A4=100, A7=120)[:5]
    assert differences(runs, "A4", "A7") == pytest.approx({0: 10, 1: 10})
    folds = [record(row, 0, right, fold=k) for k in range(2) for row, right in (("A4", 100), ("A7", 110 + 10 * k))]
    assert differences(folds, "A4", "A7") == pytest.approx({0: 7.5})
    weighed = [record("N4", 0, 100, method="lnl", crucial=0.5, crucial_even=0.2)]
    assert differences(weighed, "N4", "N4", "crucial", "crucial_even") == pytest.approx({0: 0.3})
    assert differences(runs, "A4", "A7", "psnr_restored") == {} == differences([], "A4", "A7")
    with pytest.raises(FerError, match="different faces"):
        differences([record("A4", 0, 100), record("A7", 0, 100, faces="g")], "A4", "A7")


def test_an_effect_is_told_as_it_falls():
    assert "+10.0 points of accuracy, 95 % interval +10.0 to +10.0 over 3 seeds: more." in str(effect(rows(A4=100, A7=120)))
    assert str(effect(noisy((-4, -6, -5)))).endswith(": less.") and effect(noisy((-4, -6, -5))).side == -1
    assert "no clear difference" in str(effect(noisy((-9, 8, 2)))) and effect(noisy((-9, 8, 2))).side == 0
    assert "one seed, so no interval" in str(effect(noisy((4,)))) and effect(noisy((4,))).side == 0
    assert str(effect([])) == "A7 − A4 (words): not recorded yet." and effect([]).side == 0
    assert effect(noisy((2, 4, 6))).p_value == pytest.approx(0.0742, abs=1e-4)  # t = 2 * sqrt(3) at 2 degrees of freedom
    assert effect(noisy((0, 0, 0))).p_value == 1 and effect(noisy((2, 2, 2))).p_value == 0


def test_how_many_by_chance():
    shown = [effect(noisy(gains)) for gains in ((20, 20, 21), (-4, -6, -5), (-9, 8, 2), (3,), ())]
    said = compare.by_chance(shown)
    assert said.startswith("3 intervals are drawn") and "about 0.2 of them" in said
    assert "by 2: 1 above (A7 − A4) and 1 below (A7 − A4)" in said and said.endswith("for 3 questions: A7 − A4, A7 − A4.")
    assert compare.by_chance(shown + [effect(noisy((-9, 8, 2)))] * 3).endswith("for 6 questions: A7 − A4.")
    assert compare.by_chance([effect(noisy((-9, 8, 2)))]).endswith("for 1 questions: nothing.")
    assert "No interval" in compare.by_chance(shown[3:])


def test_forest_draws_every_line_and_what_is_missing():
    shown = [effect(noisy((2, 4, 6))), effect(noisy((4,))), effect([])]
    ax = compare.forest(shown, compare.span(shown))
    texts = [text.get_text() for text in ax.texts]
    assert texts == [f"A7 − A4: words, {seeds}" for seeds in ("no record yet", "n = 1", "n = 3")]
    rings = [line.get_xdata() for line in ax.lines if line.get_marker() == "o"]
    assert [sorted(x) for x in rings] == [[2], [1, 2, 3]]
    (bar,) = ax.containers
    assert np.allclose(bar[2][0].get_segments()[0][:, 0], shown[0].interval[1:]) and bar[0].get_color() == compare.COLOURS["ll_fer"]
    low, high = ax.get_xlim()
    assert low < shown[0].interval[1] and shown[0].interval[2] < high
    assert compare.span([effect([])]) == (-11, 11)


def test_forest_draws_the_same_pair_elsewhere_in_grey_below():
    pairs = [Pair("ll_fer", "A4", "A7", "two"), Pair("ll_fer", "A3", "A7", "one"), Pair("ll_fer", "A2", "A7", "none")]
    records = [*noisy((-4, -6, -5)), record("A3", 0, 100)]
    shown = [compare.Effect(pair, {0: 1.0, 1: 2.0}) for pair in pairs]
    beside = compare.effects(records, pairs)
    ax = compare.forest(shown, (-11, 11), beside)
    squares = [(line.get_xdata()[0], line.get_ydata()[0]) for line in ax.lines if line.get_marker() == "s"]
    assert np.allclose(squares, [(-2.0, 0.8), (-2.5, 1.8)])
    grey = [bar for bar in ax.containers if bar[0].get_color() == "#757575"]
    assert len(grey) == 1 and len(ax.containers) == 4
    (ends,) = grey[0][2][0].get_segments()
    assert np.allclose(ends, [(x, 1.8) for x in beside[0].interval[1:]])
    assert len(compare.forest(shown[:1], (-11, 11), beside[1:]).containers) == 1
    assert not compare.forest([], compare.span([])).texts


@pytest.mark.parametrize("style", [show.use_style, plt.rcdefaults], ids=["book", "matplotlib"])
@matplotlib.rc_context()
def test_no_line_of_a_forest_runs_through_its_words(style):
    style()
    shown = [effect(noisy(gains), words="words over the zero line") for gains in ((2, 4, 6), (-9, 8, 2))]
    ax = compare.forest(shown, (-21, 32), beside=shown)
    canvas = ax.figure.canvas
    canvas.draw()
    ax.figure.set_layout_engine("none")  # a second layout would move the words by a hair
    canvas.draw()
    with_lines = np.array(canvas.buffer_rgba())[::-1]
    ax.grid(False)
    ax.lines[0].set_visible(False)
    canvas.draw()
    without = np.array(canvas.buffer_rgba())[::-1]
    assert (with_lines != without).any()
    for text in ax.texts:
        (left, low), (right, high) = text.get_window_extent().get_points().astype(int)
        there = np.s_[low : high + 1, left : right + 1]
        assert left < ax.transData.transform((0, 0))[0] < right
        assert (with_lines[there] == without[there]).all(), text.get_text()


def test_costs_are_ratios_of_runs_on_one_device():
    runs = [record("A4", s, 100, seconds=50) for s in range(3)] + [record("A7", s, 110, seconds=x) for s, x in enumerate((50, 100, 400))]
    runs += [record("A1", s, 100, seconds=0) for s in range(3)]
    pairs = [Pair("ll_fer", "A4", "A7", "words"), Pair("ll_fer", "A1", "A7", "no training")]
    cost = budgets.cost_of(runs, pairs[0])
    assert cost.seconds == [1, 2, 8] and cost.speed == [1, 0.5, 0.125] and cost.parameters == (2e6, 2e6)
    assert budgets.cost_of(runs, pairs[1]) is None
    elsewhere = [r.model_copy(update={"device": "gpu"}) if r.row == "A7" and r.seed else r for r in runs]
    assert budgets.cost_of(elsewhere, pairs[0]).seconds == [1]
    html = budgets.cost_table(runs, pairs, "caption").to_html()
    assert "× 2.00 (1.00\N{NO-BREAK SPACE}to\N{NO-BREAK SPACE}8.00)" in html and "2.00 / 2.00" in html and "no training" not in html
    (point,) = budgets.gain_against_cost(runs, pairs).containers
    assert point[0].get_xdata() == [2] and point[0].get_ydata() == pytest.approx([5])
    assert budgets.gain_against_cost([], pairs).texts[0].get_text() == "no record yet"


def test_protocol_says_what_was_recorded():
    table = budgets.protocol([*rows(A4=100, A7=110)[:5], record("A0", 0, 100, seconds=0), record("A0-B4", 0, 100, seconds=0)], "caption").data
    assert table.to_dict("records") == [
        {"method": "LL-FER", "trained on": "1,000", "validated on": "all", "measured on": "200", "pixels": "64", "epochs": "6", "batch": "32",
         "start": "B4, R0", "rows": 4, "seeds": "1 to 3"}
    ]  # fmt: skip
    assert budgets.protocol([], "caption").data.empty


@pytest.mark.parametrize(
    ("runs", "verdict"),
    [
        ([], "not recorded yet"),
        (rows(A4=100), "not recorded yet"),
        (rows(A4=100, A7=120), "held, its controls not recorded yet"),
        (rows(A4=100, A7=120, A3=120), "held, but not beyond every control"),
        (rows(A4=100, A7=120, A3=90), "held, and beyond its controls"),
        (rows(A4=120, A7=100), "did not hold"),
        (noisy((-9, 8, 2)), "no clear difference"),
    ],
)
def test_the_verdict_on_a_claim_follows_the_records(runs, verdict):
    said = claims.outcome(runs, Claim("ll_fer", "words", (Check("A4", "A7"),), (Check("A3", "A7"),)))
    assert said.startswith(f"**{verdict}**:")


def test_a_claim_of_several_checks_may_hold_in_part():
    both = Claim("ll_fer", "words", (Check("A4", "A7"), Check("A4", "A6", sign=-1)))
    assert claims.outcome(rows(A4=100, A7=120, A6=90), both).startswith("**held**: A7 − A4: +10.0 points [+10.0, +10.0]; A6 − A4: -5.0")
    assert claims.outcome(rows(A4=100, A7=120, A6=110), both).startswith("**held in part**:")
    assert claims.outcome(rows(A4=100, A7=120), both) == "**held, as far as recorded**: A7 − A4: +10.0 points [+10.0, +10.0]; A6 − A4 not recorded yet."
    assert claims.outcome([], Claim("ll_fer", "words", untested="no such data")) == "**could not be tested here**: no such data."


def test_all_claims_are_listed_and_counted_with_and_without_records():
    for runs in ([], rows(A0=160, A1=100, A4=110, A7=120)):
        listed = claims.claim_list(runs)
        assert listed.count("\n- ") == len(claims.CLAIMS) and all(claim.words in listed for claim in claims.CLAIMS)
        counted = claims.count_outcomes(runs).split(":", 1)[1].split(".")[0]
        assert sum(int(part.split(":")[1]) for part in counted.split(";")) == len(claims.CLAIMS)
    assert "rests on 2 intervals" in claims.count_outcomes(rows(A0=160, A1=100, A4=110, A7=120))


def test_beside_print_never_says_that_two_figures_compare():
    runs = [record("B4", s, 150, method="clcl") for s in range(2)] + [record("B4", 0, 160, method="clcl", dataset="ferplus")]
    table = claims.beside_print(runs, "caption").data
    clcl = table[table["method"] == "CLCL"].set_index("on")
    assert list(clcl.index) == ["rafdb", "ferplus", "sfew", "affectnet"]
    assert set(clcl["ours (%)"]) == {"80.0 (1 seed)"} and set(clcl["measured on"]) == {"ferplus, test, quick"}
    assert clcl.loc["ferplus", "comparable"] == "no: other split; ours is small, 64 pixels, without pretrained weights"
    assert clcl.loc["rafdb", "comparable"].startswith("no: other faces; ") and set(clcl["row"]) == {"B4"}
    dark = claims.beside_print([record("A7", 0, 150)], "caption").data.set_index("method").loc["LL-FER"]
    assert dark["measured on"] == "faces, test, quick, darkened" and dark["row"] == "A7"
    larger = claims.beside_print([*runs, record("B4-all", 0, 170, method="clcl", dataset="ferplus")], "caption").data
    assert set(larger[larger["method"] == "CLCL"]["ours (%)"]) == {"85.0 (1 seed)"}
    trained = [record(row, 0, right, method="clcl", dataset="ferplus") for row, right in (("B4-votes", 180), ("B4-all", 170))]
    largest = claims.beside_print([*runs, *trained], "caption").data
    assert set(largest[largest["method"] == "CLCL"]["ours (%)"]) == {"90.0 (1 seed)"}
    assert set(table[table["method"] != "CLCL"]["printed (%)"]) == {"none found"}
    assert set(claims.beside_print(runs[:2], "c").data.query("method == 'CLCL'")["ours (%)"]) == {"75.0 (2 seeds)"}
    assert set(claims.beside_print([], "c").data["ours (%)"]) == {"no record yet"}


def test_leads_by_itself_and_inside_a_cascade():
    """Ten points by itself, four inside: six less, in each seed."""
    own = [record(row, s, right + s, "clcl") for row, right in (("B0", 100), ("B4", 120)) for s in range(3)]
    runs = own + rows(**{"A7-B0": 60, "A7-B4": 68})
    table = compare.inside(runs, "caption").data.set_index("row")
    assert table.loc["by itself, clear", "B4"] == "60.5 ± 1.2" and table.loc["A7", "B0"] == "30.5 ± 1.2" and table.loc["S5", "N4"] == "–"
    first, *others = compare.lead_changes(runs)
    assert first == "CLCL inside LL-FER: B4 − B0 is +10.0 points on clear pictures and +4.0 here; the change is -6.0, 95 % interval -6.0 to -6.0: less."
    assert len(others) == 3 and all(line.endswith("not recorded yet.") for line in others)
