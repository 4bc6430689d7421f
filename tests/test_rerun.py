"""Reruns: what is finished stays, what changed runs again, and whatever fails ends in its one sentence, the others unharmed."""

import json
import os
import signal
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
import torch
from safetensors.torch import save_file
from tiny_ferplus import ferplus
from trivial_book import ONE, TWO, finish, made, start, started, template

from fer_lib import __main__ as command
from fer_lib import rerun as module
from fer_lib import sweep
from fer_lib.data import load_dataset
from fer_lib.errors import FerError
from fer_lib.parameters import Parameters
from fer_lib.record import read_record, record_path
from fer_lib.rerun import rerun, unfinished


def test_what_makes_a_record_invalid(out, place):
    place(ONE)
    run = Parameters(profile="quick", out=str(out))
    path = made(out, 0)
    path.parent.mkdir()
    assert unfinished(run) == "not run yet"
    path.write_text(json.dumps(template()))
    assert unfinished(run) == "its weights are gone"
    path.with_suffix(".safetensors").touch()
    assert unfinished(run) == ""
    chapter = sweep.chapter("baseline")
    executed = path.with_suffix(".ipynb")
    executed.write_text(chapter.read_text())
    assert unfinished(run) == ""
    chapter.write_text(chapter.read_text().replace("started.write", "started.wrote"))
    assert unfinished(run) == "its chapter has changed"
    for whole in (executed.read_text(), "é"):
        executed.write_bytes(whole.strip().encode()[:-1])
        assert unfinished(run) == "", "killed while papermill wrote the notebook: the record is whole all the same"
    executed.unlink()
    good = json.loads(path.read_text())
    for change, reason in [
        ({"sources": "0"}, "fer_lib has changed"),
        ({"parameters": good["parameters"] | {"lr": 9.0}}, "its parameters have changed"),
        ({"row": None}, "its record is damaged"),
    ]:
        path.write_text(json.dumps(good | change))
        assert unfinished(run) == reason


def test_a_chapter_that_raises_is_alone_and_what_is_finished_is_not_run_again(out, place):
    first_raises = """if str(seed) == (folder / "started.txt").read_text().split()[1]:
    raise RuntimeError("this face cannot be read")"""
    path, said = place(TWO, first_raises), []
    assert rerun(path, out, log=said.append) == 1
    bad = int(started(out)[0].split()[1])
    assert said[0].endswith("0 finished, 2 to do") and said[-1] == "1 of 2 runs made their record"
    assert f"FAILED baseline/R0-faces-quick-seed{bad}" in said[1] and "this face cannot be read" in said[1] and len(said) == 3
    assert sorted(started(out)) == sorted([f"faces {bad}", f"faces {bad}", f"faces {1 - bad}"])
    finish(out, bad)
    assert rerun(path, out, log=said.append) == 0 and said[-1] == "0 of 0 runs made their record"
    assert len(started(out)) == 3


def test_an_image_that_is_damaged_after_the_check_stops_its_own_run(tmp_path, out, place, monkeypatch):
    monkeypatch.setenv("FER_LIB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("FERPLUS", str(ferplus(tmp_path / "ferplus")))
    damage = """if dataset == "ferplus":
    from fer_lib.data import load_dataset
    image = Path(data) / "FER2013Train" / "fer0000004.png"
    image.write_bytes(image.read_bytes()[:50])
    load_dataset(dataset, data, "train")"""
    both = "baseline:\n- {rows: [R0], seeds: [0], profile: quick, dataset: ferplus, data: $FERPLUS}\n- {rows: [R0], seeds: [0], profile: quick}"
    said = []
    assert rerun(place(both, damage), out, cores=2, log=said.append) == 1
    assert "FAILED baseline/R0-ferplus-quick-seed0" in said[1] and said[-1] == "1 of 2 runs made their record"
    assert "fer0000004.png in" in said[1] and "fetch it again or take it out of the list." in said[1] and "Traceback" not in said[1]
    assert read_record(made(out, 0)).seed == 0


@pytest.mark.parametrize("closed", ["", "FER2013Train", "fer.zip"])
def test_data_that_may_not_be_read_stops_before_the_first_run(tmp_path, out, place, monkeypatch, closed):
    def load_as_nobody(*arguments):
        """Root may read everything, so its rights are laid down."""
        if os.getuid() == 0:
            os.seteuid(65534)
        try:
            return load_dataset(*arguments)
        finally:
            os.seteuid(os.getuid())

    monkeypatch.setattr("fer_lib.run.load_dataset", load_as_nobody)
    with tempfile.TemporaryDirectory() as top:
        Path(top).chmod(0o755)
        folder = ferplus(Path(top) / "ferplus")
        (folder / "fer.zip").touch()
        data, refused = (folder / closed if closed == "fer.zip" else folder), folder / closed
        path = place(ONE[:-1] + f", dataset: ferplus, data: {data}}}")
        refused.chmod(0)
        with pytest.raises(FerError) as caught:
            rerun(path, out)
    why = "cannot be read (Permission denied): ask its owner for the right to read it, or give another copy."
    assert str(caught.value) == f"{path}, line 1: ferplus: {refused} {why}" and not started(out)


def test_a_second_batch_in_the_folder_is_refused_and_the_first_unharmed(tmp_path, out, place):
    path = place(ONE, "for _ in range(1200): (folder / 'go').exists() or time.sleep(0.1)")
    again = (tmp_path / "book", "rerun", path, "--out", str(out))
    first = start(*again)
    wait_for(lambda: started(out))
    refusal = f"Another rerun is at work in {out}: wait for it, or name another folder"
    with pytest.raises(FerError, match=refusal):
        rerun(path, out)
    # Killed alone, it leaves snakemake behind, and the folder stays held.
    (snakemake,) = (child for child in psutil.Process(first.pid).children() if "snakemake" in child.cmdline())
    first.kill()
    first.wait()
    with pytest.raises(FerError, match=refusal):
        rerun(path, out)
    # Then the run alone is left, as on a cluster: a second batch waits for it, and does not repeat it.
    snakemake.kill()
    second = start(*again)
    wait_for(lambda: waits(second.pid))
    (out / "go").touch()
    said, errors = second.communicate(timeout=120)
    assert second.returncode == 0 and "1 of 1 runs made their record" in said, errors
    assert started(out) == ["faces 0"] and read_record(made(out, 0)).seed == 0


def test_an_interrupt_ends_the_runs_and_is_said(tmp_path, out, place):
    batch = start(tmp_path / "book", "rerun", place(ONE, "time.sleep(120)"), "--out", str(out))
    wait_for(lambda: started(out))
    family = psutil.Process(batch.pid).children(recursive=True)
    os.killpg(batch.pid, signal.SIGINT)
    errors = batch.communicate(timeout=150)[1]  # if snakemake missed it, three times PATIENCE
    assert batch.returncode == 2
    assert errors.endswith("fer_lib: Stopped from the keyboard: what is finished stays, and the same command goes on.\n")
    assert not psutil.wait_procs(family, timeout=10)[1]


def test_told_to_stop_it_finishes_what_is_at_work_and_begins_nothing(tmp_path, out, place):
    batch = start(tmp_path / "book", "rerun", place(TWO, "for _ in range(1200): (folder / 'go').exists() or time.sleep(0.1)"), "--out", str(out))
    wait_for(lambda: started(out))
    family = psutil.Process(batch.pid).children(recursive=True)
    batch.terminate()
    time.sleep(1)
    (out / "go").touch()
    errors = batch.communicate(timeout=60)[1]
    assert batch.returncode == 2 and "fer_lib: Told to stop: the runs at work have ended" in errors
    assert len(started(out)) == 1 and read_record(made(out, int(started(out)[0].split()[1])))
    assert not psutil.wait_procs(family, timeout=10)[1]


def waits(batch: int) -> bool:
    """Whether a run of the batch has been waiting for two seconds for its turn."""
    with suppress(psutil.NoSuchProcess):
        for child in psutil.Process(batch).children(recursive=True):
            if any(word.endswith("job.py") for word in child.cmdline()[1:2]):
                return time.time() - child.create_time() > 2
    return False


def wait_for(what, seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.1)


def test_runs_on_a_graphics_card_take_turns(out, place):
    """With one card, the second waits: it would fail if it met the first."""
    alone = """with open(folder / "busy", "x"):
    time.sleep(3)
(folder / "busy").unlink()"""
    path, said = place(TWO.replace("}", ", device: cuda}"), alone), []
    assert rerun(path, out, cores=2, options=("--resources", "gpu=1"), log=said.append) == 0
    assert sorted(started(out)) == ["faces 0", "faces 1"]


def test_a_method_waits_for_the_recognizers_that_it_needs(tmp_path, out, monkeypatch):
    """Whether the sweep names them or not; the one that is finished is not waited for."""
    monkeypatch.setattr(module, "_wait_for", lambda command, lock, places: None)
    path, said = tmp_path / "one.yaml", []
    path.write_text("ll_fer: {rows: [A7], seeds: [0], profile: quick}")
    assert rerun(str(path), out, log=said.append) == 3 and said[0].endswith("0 finished, 3 to do")
    plan = json.loads((out / "plan.json").read_text())
    first = [f"baseline/R0-faces-quick-seed{seed}" for seed in (0, 1)]
    assert list(plan) == [*first, "ll_fer/A7-faces-quick-seed0"]
    assert plan["ll_fer/A7-faces-quick-seed0"]["after"] == [f"{name}.json" for name in first]
    finish(out, 0)
    assert rerun(str(path), out, log=said.append) == 2
    plan = json.loads((out / "plan.json").read_text())
    assert plan["ll_fer/A7-faces-quick-seed0"]["after"] == [f"{first[1]}.json"]


@pytest.fixture
def small_disk(out):
    """A disk of 4 MB in place of the folder of runs."""
    out.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(out)], capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"A small disk cannot be mounted here ({mounted.stderr.strip()}): run this test as root.")
    yield
    subprocess.run(["umount", str(out)], check=True)


def test_a_full_disk_is_said_and_what_is_finished_stays(out, place, small_disk):
    fill = """if not (folder / "room").exists():
    (folder / "ballast").write_bytes(bytes(2 ** 23))"""
    path, said = place(TWO, fill), []
    finish(out, 0)
    assert rerun(path, out, log=said.append) == 1
    assert "FAILED baseline/R0-faces-quick-seed1" in said[1]
    assert said[2] == f"The disk of {out} is full: free some space and start again; what is finished stays."
    with suppress(OSError), (out / "ballast").open("ab") as ballast:
        while ballast.write(bytes(4096)):
            ballast.flush()
    Path(path).write_text(TWO.replace("1]", "1, 2, 3]"))
    with pytest.raises(FerError, match=r"cannot be written \(No space left on device\): free some space, or name another folder"):
        rerun(path, out, log=said.append)
    (out / "ballast").unlink()
    (out / "room").touch()
    Path(path).write_text(TWO)
    assert rerun(path, out, log=said.append) == 0 and said[-2].endswith("1 finished, 1 to do")
    assert [read_record(made(out, seed)).seed for seed in (0, 1)] == [0, 1] and "faces 0" not in started(out)


def test_one_run_on_a_full_disk_ends_in_a_sentence(out, small_disk, monkeypatch, capsys):
    few = "train_images=32 val_images=16 test_images=16 size=32 epochs=1".split()
    one = ["run", "baseline", "--profile", "smoke", "--out", str(out), *(x for change in few for x in ("--set", change))]
    assert command.main(one) == 2
    said = capsys.readouterr().err
    assert said.startswith("fer_lib: Checkpoint") and "free some space and start again" in said and len(said.splitlines()) == 1
    monkeypatch.setattr(command, "run", lambda _: save_file({"weights": torch.zeros(2**21)}, out / "R0.safetensors"))
    assert command.main(one) == 2
    said = capsys.readouterr().err
    assert "A file of weights failed" in said and "No space left on device" in said and len(said.splitlines()) == 1
    assert not [path for path in out.rglob("*") if path.is_file()]


def test_what_slurm_said_of_a_job_stands_in_the_table(out, place, monkeypatch):
    """Its time is over: only Slurm knows, in a log of its own."""

    def snakemake(command, lock, places):
        logs = out / ".snakemake" / "slurm_logs" / "rule_run" / "baseline_R0-faces-quick-seed0"
        logs.mkdir(parents=True)
        (logs / "7.log").write_text("rule run:\nslurmstepd: error: *** JOB 7 CANCELLED DUE TO TIME LIMIT ***\nWorkflowError:\n")

    monkeypatch.setattr(module, "_wait_for", snakemake)
    said = []
    assert rerun(place(ONE), out, log=said.append) == 1
    assert said[1].splitlines()[1:] == ["    slurmstepd: error: *** JOB 7 CANCELLED DUE TO TIME LIMIT ***"]
