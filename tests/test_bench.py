"""The speed measurements: what is measured is what is said. How fast anything is, no test asks."""

import json
import multiprocessing
import os
import time
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import torch

from fer_lib.__main__ import main
from fer_lib.bench import against, report
from fer_lib.bench.against import Setting, both, figures, flops_of, peak_of, pictures
from fer_lib.bench.limit import measured_peak
from fer_lib.bench.linear import power, write_records
from fer_lib.bench.own import Begun, Held
from fer_lib.bench.parts import Trainee, method_steps, prepare, write_ferplus
from fer_lib.bench.public import Plain
from fer_lib.bench.report import Plan, goals, keep, limit_share, table
from fer_lib.bench.timing import Spread, in_turns, resident_peak, stopwatch, workers_memory
from fer_lib.data import load_dataset
from fer_lib.data.faces import make_faces
from fer_lib.errors import FerError
from fer_lib.ledger import ledger
from fer_lib.methods import METHODS
from fer_lib.record import find_records, read_records

TOOLS = Path(__file__).resolve().parent.parent / "tools"
CPU = torch.device("cpu")
TINY = Setting(32, 4, 2, "cpu", 0, "resnet10_narrow", 2)


@pytest.fixture
def faces():
    return pictures(32, 8)


def test_the_stopwatch_takes_what_lies_between_two_looks_at_the_clock():
    looks = iter([10.0, 12.5])
    assert stopwatch(lambda: None, CPU, clock=lambda: next(looks)) == 2.5


def test_works_take_turns_there_and_back_and_the_first_turn_warms_up():
    order, count = [], iter(range(100))

    def work(name):
        order.append(name)
        return next(count)

    found = in_turns({name: lambda name=name: work(name) for name in "ab"}, 2)
    assert "".join(order) == "ba" + "ab" + "ba" and found == {"a": [2, 5], "b": [3, 4]}
    assert Spread.of([3.0, 1.0, 2.0]) == (1.0, 2.0, 3.0)


def hold(bytes_: int, ready, done):
    held = bytearray(b"x") * bytes_
    ready.set()
    done.wait(60)
    return held


def test_memory_is_of_this_process_and_its_workers():
    before, context = workers_memory(), multiprocessing.get_context("spawn")
    ready, done = context.Event(), context.Event()
    child = context.Process(target=hold, args=(200_000_000, ready, done))
    child.start()
    assert ready.wait(60)
    assert workers_memory() - before > 200_000_000
    done.set()
    child.join()
    assert workers_memory() - before < 50_000_000
    least, held = resident_peak(), bytearray(b"x") * (psutil.Process().memory_info().rss // 2)
    del held
    assert resident_peak() >= max(least, psutil.Process().memory_info().rss)


def test_both_recipes_see_the_same_pictures_of_the_same_form_and_range(faces, tmp_path):
    recipes = both(TINY, faces, tmp_path, against.SIDES)
    own = next(recipes["fer_lib"].testing.epoch())
    whole = torch.cat([image for image, _ in recipes["public"].testing])
    rows = sorted(range(8), key=lambda row: (int(faces.labels[row]), row))  # a folder is sorted by label
    assert torch.equal(whole, (faces.images[rows].float() / 255))
    changed, drawn = next(iter(recipes["public"].training))[0], next(recipes["fer_lib"].training.epoch()).image
    assert changed.shape == drawn.shape == own.image.shape and changed.dtype == drawn.dtype
    assert all(0 <= x.min() and x.max() <= 1 for x in (changed, drawn)) and len(recipes["public"].training) == TINY.steps


def test_both_networks_are_the_same(faces, tmp_path):
    baseline = TINY.network().eval()
    plain, image = Plain(deepcopy(baseline)).eval(), faces.images.float() / 255
    with torch.no_grad():
        assert torch.allclose(plain(image), baseline(image).logits, atol=1e-4)


@pytest.mark.parametrize("side", against.SIDES)
def test_each_measurement_returns_seconds_and_training_trains(side, faces, tmp_path):
    recipe = both(TINY, faces, tmp_path, (side,))[side]
    network = recipe.network if side == "public" else recipe.method
    before = network.head.weight.detach().clone()
    assert all(getattr(recipe, work)() > 0 for work in against.WORKS)
    assert not torch.equal(before, network.head.weight)


def test_a_held_batch_is_the_first_one_as_often_as_there_are_batches(faces, tmp_path):
    loader = both(TINY, faces, tmp_path, ("fer_lib",))["fer_lib"].training
    held = list(Held(loader).epoch())
    assert len(held) == len(loader) == 2 and held[0] is not held[1] and held[0].image is held[1].image
    assert torch.equal(held[0].image, next(loader.epoch()).image)


def test_the_optimizer_fills_its_memory_in_a_step_that_is_not_measured(faces, tmp_path):
    loader = both(TINY, faces, tmp_path, ("fer_lib",))["fer_lib"].training
    begun = Begun(loader)
    assert [len(list(begun.epoch(number))) for number in (0, 1)] == [1, 2] and len(begun) == 2
    assert torch.equal(next(begun.epoch(1)).index, next(loader.epoch(1)).index)


def test_the_networks_time_and_the_rest_add_up():
    found = figures(100, {"public": [4.0, 5.0], "fer_lib": [2.0, 2.0]}, {"public": [3.0, 4.0], "fer_lib": [1.9, 1.9]})
    assert found["ratio"] == (2.0, 2.25, 2.5)
    assert found["public"]["images_per_second"] == (20.0, 22.5, 25.0)
    assert found["public"]["outside"].high == 0.25 and found["fer_lib"]["outside"].middle == pytest.approx(0.05)


def test_arithmetic_is_counted(faces):
    found = flops_of(TINY, faces)
    assert 2 < found["train"] / found["predict"] < 3.1  # forward, and back to weights and maps, but not to the picture
    assert set(measured_peak(CPU, "fp32", 1, (((1, 8, 8),), 32))) == {"matrix", "convolution"}


def test_a_method_is_timed_in_each_of_its_stages_against_the_recognizer():
    lines = method_steps(CPU, "smoke", "size=32 batch_size=4", 1, 1, ("sr_fer",))
    assert [(line["method"], line["stage"]) for line in lines] == [("baseline", "train"), ("sr_fer", "restore"), ("sr_fer", "joint")]
    assert lines[0]["ratio"] == (1, 1, 1) and lines[0]["flops_ratio"] == 1 and lines[2]["flops_ratio"] > 1


def test_what_a_method_does_not_need_is_taken_off():
    twins = make_faces(8, size=32, neutral=True)
    asks = {name: Trainee(name, twins, 1, CPU, "smoke", "size=32 batch_size=4").train.faces for name in ("baseline", "err_net")}
    assert asks["baseline"].neutral is None and asks["err_net"].neutral is not None


def test_a_dataset_is_prepared_in_a_cache_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setenv("FER_LIB_CACHE", str(tmp_path / "mine"))
    data = write_ferplus(make_faces(8, size=48), 10, tmp_path / "data")
    first, again = prepare(data)
    assert first > 0 and again > 0 and os.environ["FER_LIB_CACHE"] == str(tmp_path / "mine") and not (tmp_path / "mine").exists()
    assert len(load_dataset("ferplus", data, "train")) == 10


def test_a_made_up_affectnet_is_prepared_and_its_memory_watched(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(TOOLS))
    import bench_affectnet as tool

    monkeypatch.setattr(tool, "DRAWN", 8)
    monkeypatch.setenv("FER_LIB_CACHE", str(tmp_path / "cache"))
    data = tool.write(tmp_path / "data", 160)
    found = tool._watched(tool.prepare, (data,))
    assert found["faces"] == 144 and found["seconds"] > 0, "one in ten of each class is held out"

    def hold(count: int):
        held = bytearray(b"x") * count
        time.sleep(0.1)
        return {"bytes": len(held)}

    much, little = (tool._watched(hold, (count,))["own_mb"] for count in (300_000_000, 1))
    assert much - little == pytest.approx(300, abs=30)


def test_growth_is_a_power(tmp_path):
    assert power({1: 2.0, 4: 8.0, 16: 32.0}) == pytest.approx(1) and power({1: 1.0, 4: 16.0, 16: 256.0}) == pytest.approx(2)
    assert len(ledger(find_records(write_records(tmp_path / "records", 3)).values())) == 3


def made_up(device: str = "x86_64 cpu, 2 threads") -> dict:
    """A record as :func:`bench` makes it, of round numbers."""
    one = Spread(1.0, 2.0, 3.0)
    side = {"images_per_second": Spread(90.0, 100.0, 110.0), "outside": Spread(0.0, 0.05, 0.1)}
    work = {"public": side, "fer_lib": side, "ratio": one}
    rows = [{"size": s, "batch": 16, "images": 96, "train": work, "predict": work, "flops": {"train": 3e9, "predict": 1e9}} for s in report.SIZES]
    step = {"row": "B4", "stage": "train", "step": one, "ratio": Spread(1.0, 1.6, 2.0), "flops_ratio": 1.5}
    found = {
        **{"machine": {"device": device, "processor": "some", "cores": 2, "threads": 2, "load": 0.0}, "seconds": 1.0},
        **{"precision": "bf16", "peak": {"bf16": {"matrix": 2e12, "convolution": 1e12}, "fp32": {"matrix": 4e11, "convolution": 5e11}}},
        **{"compare": rows, "memory": [{"size": 112, "public": 10**9, "fer_lib": 5 * 10**8}], "plan": vars(Plan.of(CPU, True))},
        **{"methods": [{"method": name, **step} for name in ("clcl", "lnl")], "drawing": [{"size": 48, "images_per_second": one}]},
        "preparation": {"images": 10, "images_per_second": one, "again": one},
        "growth": [{"what": "training", "by": "images", "seconds": {1: 0.1, 4: 0.4, 16: 1.6}, "power": 1.0, "each": 1.0}],
    }
    return found | {"goals": goals(found)}


def same_form(found, example) -> bool:
    """Whether everything that a made-up record has is in a real one, of the same kind."""
    if isinstance(example, dict) and all(isinstance(key, str) for key in example):
        return all(name in found and same_form(found[name], part) for name, part in example.items())
    if isinstance(example, list):
        return bool(found) and all(same_form(one, example[0]) for one in found)
    return type(found) is type(example) or {type(found), type(example)} <= {int, float}


def test_everything_is_measured_and_has_the_form_that_table_and_record_read(monkeypatch, tmp_path):
    """Once through all of it, with hardly any work; the machine's peak, which takes large matrices, and memory, which takes processes, are made up."""
    monkeypatch.setattr(report, "measured_peak", lambda device, precision: made_up()["peak"]["bf16"])
    monkeypatch.setattr(report, "memory", lambda setting: {side: peak_of(side, replace(TINY, size=setting.size), 1) for side in against.SIDES})
    monkeypatch.setattr(report, "SIZES", (48, 112))
    said, plan = [], Plan(2, 1, 0.0, 1, 1, (48,), "smoke", "size=32 batch_size=4", 1, 1, 2, 10, 8, 2)
    found = report.bench("cpu", log=said.append, plan=plan)
    assert same_form(found, made_up() | {"goals": [{"goal": "", "measured": 0.5, "met": True}], "peak": {"fp32": made_up()["peak"]["fp32"]}})
    assert {line["method"] for line in found["methods"]} == set(METHODS) and [row["size"] for row in found["compare"]] == [48, 112]
    assert {g["by"] for g in found["growth"]} == {"images", "pixels", "rows"} and 10**7 < found["memory"][0]["public"] < 10**11
    keep(found, tmp_path / "speed.json")
    kept = json.loads((tmp_path / "speed.json").read_text())
    assert kept["goals"] == found["goals"] and "Growth" in table(found) and any("112 px" in line for line in said)


def test_the_limit_is_that_of_the_precision():
    found = made_up()
    row = found["compare"][0]
    assert limit_share(found, row, "train", "fer_lib") == 0.3 and limit_share(found, row, "train", "public") == 0.6
    assert limit_share(found, row, "predict", "fer_lib") == 0.2


def test_goals_are_met_or_not():
    assert [g["met"] for g in made_up()["goals"]] == [True, True, True, False, True]
    on_card = made_up("NVIDIA H100, bf16")["goals"]
    assert on_card[0]["least"] == 5.0 and not on_card[0]["met"] and on_card[1]["measured"] == 0.3


def test_the_table_and_the_record(tmp_path):
    found = made_up()
    text = table(found)
    for words in ("Training", "Prediction", "1.00 / 2.00 / 3.00", "90 / 100 / 110", "0 / 5 / 10", "1000", "drawing faces, 48 px", "at least 2.0"):
        assert words in text
    keep(found, tmp_path / "speed.json")
    assert json.loads((tmp_path / "speed.json").read_text()) == json.loads(json.dumps(found))
    with pytest.raises(FerError, match="could not be written"):
        keep(found, tmp_path / "none" / "speed.json")


def test_the_command(capsys, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr("fer_lib.__main__.bench", lambda device, quick, log: asked.append((device, quick)) or made_up())
    assert main(["bench", "--quick", "--device", "cpu", "--out", str(tmp_path / "speed.json")]) == 0
    assert asked == [("cpu", True)] and "Growth" in capsys.readouterr().out and (tmp_path / "speed.json").is_file()
    assert main(["bench", "--out", str(tmp_path / "none" / "speed.json")]) == 2 and len(asked) == 1
    assert "There is no folder" in capsys.readouterr().err


def test_less_is_measured_when_it_must_be_quick():
    quick, whole = (Plan.of(CPU, short) for short in (True, False))
    assert quick.repeats >= 5 and quick.seconds < whole.seconds and quick.memory == (112,)
    assert replace(TINY, size=48).recipe.size == 48 and TINY.recipe.ema == 0


@pytest.mark.parametrize(("record", "column"), [("changes", 3), ("changes_avx512", 4)])
def test_the_page_quotes_the_record_of_changes(record, column):
    book = TOOLS.parent / "book"
    table = (book / "speed.md").read_text().split("## What was changed")[1].split(":::")[1]
    lines = [line.split("\n  - ") for line in table.split("* - ")[2:]]
    order = ["products", "weights", "k-means", "16-bit"]
    for what, (low, middle, high) in json.loads((book / "results" / "speed" / f"{record}.json").read_text())["ratios"].items():
        of = lines[[what.startswith(change) for change in order].index(True)]
        assert f"× {middle:.2f} ({low:.2f}–{high:.2f})" in of[column], what


def test_the_page_quotes_the_accuracies_in_16_bits():
    reached = [f"{100 * r.metrics['accuracy']:.1f}" for r in read_records(method="baseline", row="R0", dataset="ferplus", profile="laptop")]
    assert "{}, {} and {} % in 16".format(*reached) in (TOOLS.parent / "book" / "speed.md").read_text()


@pytest.mark.parametrize(("record", "column"), [("quick", 2), ("quick_avx512", 3)])
def test_the_page_quotes_the_goals_of_both_machines(record, column):
    book = TOOLS.parent / "book"
    table = (book / "speed.md").read_text().split("## What is asked")[1].split(":::")[1]
    lines = {line.split("\n  - ")[0].strip(): [cell.strip() for cell in line.split("\n  - ")] for line in table.split("* - ")[2:]}
    found = json.loads((book / "results" / "speed" / f"{record}.json").read_text())["goals"]
    assert len(found) == 5 and len(lines) == 7
    for goal in found:
        said = f"{100 * goal['measured']:.0f} %" if "share" in goal["goal"] else f"{goal['measured']:.2f}"
        assert lines[goal["goal"]][column] == said + ", missed" * (not goal["met"])
