"""Reruns: what of a chapter is executed, what makes a run worth repeating, and what a run that outlived its batch has done."""

import json
import signal
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny_ferplus import ferplus
from trivial_book import ONE, TWO, finish, made, started, template

from fer_lib import rerun as module
from fer_lib import sweep
from fer_lib.errors import FerError
from fer_lib.parameters import Parameters
from fer_lib.record import record_path
from fer_lib.rerun import rerun, unfinished
from fer_lib.sources import sources


@pytest.mark.parametrize("profile", ["smoke", "page", "quick"])
def test_cells_of_the_page_are_executed_at_the_smallest_profiles_alone(out, place, profile):
    path = place(ONE.replace("quick", profile))
    (out / "template.json").write_text(json.dumps(template(profile)))
    assert rerun(path, out, log=[].append) == 0 and started(out) == ["faces 0"]
    whole = profile != "quick"
    executed = record_path(out, "baseline", f"R0-faces-{profile}-seed0").with_suffix(".ipynb")
    assert (out / "page.txt").is_file() == whole and ("page.txt" in executed.read_text()) == whole
    run, chapter = Parameters(profile=profile, out=str(out)), sweep.chapter("baseline")
    assert unfinished(run) == ""
    chapter.write_text(chapter.read_text().replace("page.txt", "other.txt"))
    assert unfinished(run) == ("its chapter has changed" if whole else "")
    chapter.write_text(chapter.read_text().replace("started.write", "started.wrote"))
    assert unfinished(run) == "its chapter has changed"


def test_other_faces_make_a_run_unfinished(tmp_path, out, place, monkeypatch):
    monkeypatch.setenv("FER_LIB_CACHE", str(tmp_path / "cache"))
    data = ferplus(tmp_path / "ferplus")
    path = place(ONE[:-1] + f", dataset: ferplus, data: {data}}}", 'folder.joinpath("none").read_text()')
    run = Parameters(dataset="ferplus", data=str(data), out=str(out))
    record = record_path(out, "baseline", "R0-ferplus-quick-seed0")
    prints = {split: module._fingerprint(Parameters(dataset="ferplus", data=str(data)), split, count) for split, count in (("train", 4000), ("val", 1000))}
    assert all(prints.values())
    record.parent.mkdir(parents=True)
    text = template() | {"dataset": "ferplus", "split": "val", "fingerprint": prints, "sources": sources("baseline", "ferplus")}
    record.write_text(json.dumps(text))
    record.with_suffix(".safetensors").touch()
    assert rerun(path, out, log=[].append) == 0 and not started(out)
    image = data / "FER2013Train" / "fer0000004.png"
    pixels = np.array(Image.open(image))
    pixels[0, 0] ^= 1
    Image.fromarray(pixels).save(image)
    assert unfinished(run) == "", "asked of the same batch"
    said = []
    assert rerun(path, out, log=said.append) == 1 and len(started(out)) == 2
    assert said[0].endswith("0 finished, 1 to do") and "FAILED baseline/R0-ferplus-quick-seed0: no record" in said[1]


def test_what_a_run_of_a_killed_batch_finishes_while_its_successor_is_queued_stays(out, place):
    """The first run writes the other's record, as a run would that outlived its batch; the other is not started then."""
    other = """if not (folder / method / "orphan").exists():
    (folder / method / "orphan").touch()
    path = folder / method / f"{row}-{dataset}-{profile}-seed{1 - seed}.json"
    path.with_suffix(".safetensors").touch()
    path.write_text(json.dumps(json.loads((folder / "template.json").read_text()) | {"seed": 1 - seed}))"""
    said = []
    assert rerun(place(TWO, other), out, log=said.append) == 0 and said[-1] == "2 of 2 runs made their record"
    assert len(started(out)) == 1


def test_what_such_a_run_finishes_before_its_successor_is_queued_stays(out, place, monkeypatch):
    """The sweep has been looked through, and the run was not finished then."""
    path, said, prepare = place(ONE), [], module._prepare
    monkeypatch.setattr(module, "_prepare", lambda *arguments: finish(out, 0) or prepare(*arguments))
    assert rerun(path, out, log=said.append) == 0 and said == [f"1 runs in {path}: 0 finished, 1 to do", "1 of 1 runs made their record"]
    assert not started(out) and not made(out, 0).with_suffix(".json.old").exists()


def test_what_is_no_longer_valid_at_the_end_says_why(out, place, monkeypatch):
    """Somebody edits the chapter while it is run."""
    path, said = place(ONE), []
    chapter, text = sweep.chapter("baseline"), sweep.chapter("baseline").read_text()
    whole = module._wait_for

    def edited(command, lock, places):
        whole(command, lock, places)
        chapter.write_text(text.replace("started.write", "started.wrote"))

    monkeypatch.setattr(module, "_wait_for", edited)
    assert rerun(path, out, log=said.append) == 1
    assert said[1].startswith("FAILED baseline/R0-faces-quick-seed0: its chapter has changed, log ")


@pytest.mark.skipif(sys.platform != "linux", reason="Elsewhere there is no warm process.")
@pytest.mark.parametrize(("options", "program"), [((), "warm.py"), (("--executor", "local"), "job.py")])
def test_a_run_is_a_fork_of_the_warm_process_unless_it_is_sent_elsewhere(out, place, options, program):
    path = place(ONE, '(folder / "who").write_text(Path("/proc/self/cmdline").read_text())')
    assert rerun(path, out, options=options, log=[].append) == 0
    assert Path((out / "who").read_text().split("\0")[1]).name == program


DEAF = """
import os, signal, subprocess, sys, time
run = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(120)"])
os.kill(os.getppid(), signal.SIGINT)
try:
    time.sleep(120)
except KeyboardInterrupt:
    run.wait()
"""


# It hears nothing, and neither does its run, which inherits that.
STONE_DEAF = """
import os, signal, subprocess, sys, time
signal.signal(signal.SIGINT, signal.SIG_IGN)
run = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(120)"])
os.kill(os.getppid(), signal.SIGINT)
time.sleep(120)
"""


@pytest.mark.parametrize("program", [DEAF, STONE_DEAF], ids=["misses it", "hears nothing"])
def test_an_interrupt_that_snakemake_missed_is_passed_on(program, tmp_path, monkeypatch):
    """Here it reaches the batch alone: what stands in for snakemake sends it there. Told itself, it waits for its run, which has to be told, too."""
    monkeypatch.setattr(module, "PATIENCE", 0.2)
    before, begun = signal.signal(signal.SIGINT, signal.default_int_handler), time.monotonic()
    try:
        with open(tmp_path / "lock", "w") as lock, pytest.raises(FerError, match="Stopped from the keyboard"):
            module._wait_for([sys.executable, "-c", program], lock.fileno(), {})
    finally:
        signal.signal(signal.SIGINT, before)
    assert time.monotonic() - begun < 60
