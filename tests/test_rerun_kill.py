"""A whole batch killed at random moments and started again: every record there once and whole, no finished run repeated.

``pytest -m slow tests/test_rerun_kill.py`` does it with 200 runs and two kills.
"""

import json
import os
import random
import signal
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from trivial_book import start, started, write_book

from fer_lib import sweep
from fer_lib.parameters import Parameters
from fer_lib.record import find_records, record_path
from fer_lib.rerun import unfinished

PATIENCE = 3600


def finished(out: Path, runs: int) -> set[str]:
    """The runs whose record is there and valid, as :func:`started` names them."""
    return {f"faces {seed}" for seed in range(runs) if not unfinished(Parameters(profile="quick", seed=seed, out=str(out)))}


def kill(batch, out: Path, begun: int) -> None:
    """SIGKILL to the whole batch, a random moment after ``begun`` starts; returns when nothing of it is left."""
    end = time.monotonic() + PATIENCE
    while len(started(out)) < begun:
        assert batch.poll() is None and time.monotonic() < end, "the batch ended before it could be killed"
        time.sleep(0.02)
    time.sleep(random.uniform(0, 3))
    family = psutil.Process(batch.pid).children(recursive=True)
    os.killpg(batch.pid, signal.SIGKILL)
    # Kernels have groups of their own, and would write on for a second until they see that papermill has gone.
    for process in family:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    batch.communicate()
    assert not psutil.wait_procs(family, timeout=60)[1]


@pytest.mark.parametrize(("runs", "kills"), [(6, 1), pytest.param(200, 2, marks=pytest.mark.slow)])
def test_killed_and_started_again(tmp_path, monkeypatch, runs, kills):
    out, path = tmp_path / "runs", tmp_path / "many.yaml"
    book = write_book(tmp_path / "book", out)
    monkeypatch.setattr(sweep, "CHAPTERS", book)
    path.write_text(f"baseline: {{rows: [R0], seeds: {list(range(runs))}, profile: quick}}")
    command = (book, "rerun", str(path), "--out", str(out), "--cores", "2")
    calls, done, figures = [0], set(), []
    for k in range(kills):
        # Two run at once: with the third, one at least is finished.
        kill(start(*command), out, calls[-1] + random.randint(3, runs // (kills + 1)))
        again = done & set(started(out)[calls[-1] :])
        assert not again, f"finished before call {k + 1}, and repeated by it: {again}"
        calls.append(len(started(out)))
        done = finished(out, runs)
        assert len(find_records(out)) == len(done), "a record is half-written"
        figures.append({"starts": calls[-1], "finished": len(done)})
    last = start(*command)
    said, errors = last.communicate(timeout=PATIENCE)
    assert last.returncode == 0, said + errors
    assert f"{len(done)} finished, {runs - len(done)} to do" in said
    assert not done & set(started(out)[calls[-1] :]), "a finished run was repeated"
    print(json.dumps({"runs": runs, "at each kill": figures, "starts in all": len(started(out))}))
    # Twice started is only what a kill cut off: at most as many as ran at once.
    assert set(started(out)) == finished(out, runs) and len(started(out)) <= runs + 2 * kills
    found = find_records(out)
    assert sorted(record.seed for record in found.values()) == list(range(runs))
    assert all(path == record_path(out, "baseline", f"R0-faces-quick-seed{record.seed}") for path, record in found.items())
