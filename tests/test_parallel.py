"""Two processes do what one does: weights, statistics, batches and files; started once, by torchrun."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from fer_lib.errors import FerError
from fer_lib.parallel import join_processes
from fer_lib.record import find_records
from parallel_cases import CASES

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("two")


@pytest.fixture(scope="module")
def two(folder):
    """What each of two processes found, by case."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, str(ROOT / "tests" / "parallel_cases.py"), str(folder)], env=env, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return [torch.load(folder / f"process{k}.pt") for k in range(2)]


@pytest.mark.parametrize("case", ["baseline", "clcl", "lnl", "balanced", "failed"])
def test_two_processes_give_what_one_gives(case, two, tmp_path):
    one = CASES[case](tmp_path)
    for both in two:
        assert both[case].keys() == one.keys()
        for name, value in one.items():
            torch.testing.assert_close(both[case][name], value, rtol=0, atol=1e-5, msg=f"{case} {name}")


def test_adamw_differs_where_rounding_decides_a_sign(two, tmp_path):
    """It divides a gradient by its size: where that is near 0, rounding moves a weight by up to the learning rate."""
    apart = torch.cat([(two[0]["adamw"][k] - v).abs().flatten() for k, v in CASES["adamw"](tmp_path).items()])
    assert apart.max() < 2e-3 and (apart > 1e-5).float().mean() < 1e-3


def test_both_processes_hold_the_same_to_the_last_bit(two):
    for case in CASES:
        for name in two[0][case].keys() - {"lines"}:
            assert torch.equal(two[0][case][name], two[1][case][name]), f"{case} {name}"


def test_batch_norm_is_torchs_own(two, tmp_path):
    """Outputs, running statistics and all gradients, of slices of 3 and 4 faces."""
    for name, value in CASES["normed"](tmp_path).items():
        torch.testing.assert_close(two[0]["normed"][name], value, rtol=1e-10, atol=1e-10, msg=name)


def test_slices_are_those_of_the_same_batches(two, tmp_path):
    one = CASES["sliced"](tmp_path)
    assert torch.allclose(two[0]["sliced"]["images"], one["images"], atol=1e-6)
    sentence = bytes(two[1]["sliced"]["sentence"].tolist()).decode()
    assert sentence == "A batch of 1 faces cannot be split over 2 processes: raise batch_size."


def test_a_run_of_two_processes_leaves_one_record(two, folder, tmp_path):
    one = CASES["cascade"](tmp_path)
    for name in one.keys() - {"lines"}:
        share = 1e-5 if name == "balance" else 0  # a ratio of gradients, no weight, and larger than one
        torch.testing.assert_close(two[0]["cascade"][name], one[name], rtol=share, atol=1e-5, msg=name)
    assert two[0]["cascade"]["lines"] == one["lines"] and two[1]["cascade"]["lines"] == 0
    files = [sorted(p.relative_to(f).as_posix() for p in f.rglob("*-seed*")) for f in (folder, tmp_path)]
    assert files[0] == files[1] and len(files[0]) == 6
    records = [list(find_records(f / "runs").values()) for f in (folder, tmp_path)]
    for both, alone in zip(*records, strict=True):
        assert both.device.endswith(", 2 processes") and "processes" not in alone.device
        assert both.parameters == alone.parameters and both.sources == alone.sources


def test_one_process_joins_nobody(monkeypatch):
    join_processes("cpu")
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    monkeypatch.setenv("WORLD_SIZE", "1")
    join_processes("cpu")
    assert not torch.distributed.is_initialized()


def test_a_device_that_cannot_be_shared(monkeypatch):
    for name, value in {"TORCHELASTIC_RUN_ID": "none", "WORLD_SIZE": "2", "LOCAL_RANK": "99"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(FerError, match="Device 'mps' is for one process here: with torchrun take cpu or cuda"):
        join_processes("mps")
    with pytest.raises(FerError, match="graphics cards here: start at most so many processes"):
        join_processes("cuda")
