"""A sweep on Slurm: one node on this machine, started and stopped here, with all its files in a temporary folder."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path

import pytest
from trivial_book import start, started, write_book

from fer_lib.record import find_records

ROOT = Path(__file__).resolve().parent.parent
PATH = os.environ["PATH"] + ":/usr/sbin:/sbin"
NEEDED = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scontrol", "sinfo")
CONFIG = """
ClusterName=here
SlurmctldHost={host}(127.0.0.1)
SlurmUser={user}
SlurmdUser={user}
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory=4000
PartitionName=all Nodes=ALL Default=YES
"""
# The executor's step forgets the variable SLURM_CONF, by which srun would find a configuration that is not in /etc.
SRUN = '#!/bin/sh\nSLURM_CONF={folder}/slurm.conf exec {srun} "$@"\n'


@pytest.fixture
def cluster():
    """The environment in which Slurm's commands find the cluster."""
    found = {name: shutil.which(name, path=PATH) for name in NEEDED}
    if missing := [name for name, path in found.items() if not path]:
        pytest.skip(f"Slurm is not installed here (no {', '.join(missing)}): apt-get install slurm-wlm munge, as root.")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="slurm-")))
        folder.chmod(0o755)  # munge wants its socket to be within reach
        for name in ("bin", "state", "spool"):
            (folder / name).mkdir()
        host, user = socket.gethostname().split(".")[0], subprocess.check_output(["id", "-un"], text=True).strip()
        config = CONFIG.format(host=host, user=user, folder=folder, ports=free_ports(), cpus=min(2, os.cpu_count()))
        (folder / "slurm.conf").write_text(config)
        (folder / "bin" / "srun").write_text(SRUN.format(folder=folder, srun=found["srun"]))
        (folder / "bin" / "srun").chmod(0o755)
        (folder / "munge.key").write_bytes(os.urandom(1024))
        (folder / "munge.key").chmod(0o600)
        files = {"key-file": "munge.key", "socket": "munge.socket", "pid-file": "pid", "seed-file": "seed", "log-file": "log"}
        env = {**os.environ, "PATH": f"{folder}/bin:{PATH}", "SLURM_CONF": f"{folder}/slurm.conf"}
        munged = [found["munged"], "--foreground", *(f"--{option}={folder}/{name}" for option, name in files.items())]
        stack.enter_context(daemon(munged, folder, env))
        wait_for((folder / "munge.socket").exists, folder)
        stack.enter_context(daemon([found["slurmctld"], "-D", "-i"], folder, env))
        stack.enter_context(daemon([found["slurmd"], "-D"], folder, env))
        wait_for(lambda: say(env, "sinfo", "--noheader", "--format=%T").strip() == "idle", folder)
        stack.callback(say, env, "scancel", f"--user={user}")
        yield env


def free_ports() -> list[int]:
    with socket.socket() as a, socket.socket() as b:
        for one in (a, b):
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in (a, b)]


@contextmanager
def daemon(command: list[str], folder: Path, env: dict[str, str]):
    """A program in the background, stopped at the end; what it says goes to a file of its name."""
    with (folder / f"{Path(command[0]).name}.said").open("w") as said:
        process = subprocess.Popen(command, env=env, stdout=said, stderr=said)
        yield
        process.terminate()
        process.wait(30)


def wait_for(what, folder: Path, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not what():
        said = "".join(path.read_text() for path in folder.glob("*.said"))
        assert time.monotonic() < end, f"It never came. Slurm said: {said}"
        time.sleep(0.2)


def say(env: dict[str, str], *command: str) -> str:
    return subprocess.run(command, env=env, capture_output=True, text=True).stdout


@pytest.mark.slurm
def test_papermill_runs_are_slurm_jobs(cluster, tmp_path):
    """Two runs by the command of the book; each record was finished while a job of its name was at work, and that job was well."""
    path, out = tmp_path / "two.yaml", tmp_path / "runs"
    path.write_text("baseline: {rows: [R0], seeds: [0, 1], profile: smoke}")
    options = f"--workflow-profile {ROOT}/sweeps/slurm --slurm-init-seconds-before-status-checks 5"
    make = ["make", "-o", "install", "rerun", f"VENV={sys.executable}", f"SWEEP={path}", f"OUT={out}", f"ARGS={options}"]
    result = subprocess.run(make, cwd=ROOT, env=cluster, capture_output=True, text=True, timeout=900)
    assert result.returncode == 0 and "2 of 2 runs made their record" in result.stdout, result.stdout + result.stderr
    jobs = {}
    for line in say(cluster, "scontrol", "--oneliner", "show", "job").splitlines():
        fields = dict(re.findall(r"(\S+?)=(\S*)", line))
        jobs[fields.get("Comment")] = fields
    records = find_records(out)
    assert {f"rule_run_wildcards_baseline_{path.stem}" for path in records} == set(jobs) and len(jobs) == 2
    for path, record in records.items():
        job = jobs[f"rule_run_wildcards_baseline_{path.stem}"]
        assert job["JobState"] == "COMPLETED" and job["ExitCode"] == "0:0"
        begun, ended = (datetime.fromisoformat(job[name]).astimezone() for name in ("StartTime", "EndTime"))
        assert begun <= datetime.fromisoformat(record.finished) <= ended
        assert path.with_suffix(".ipynb").is_file() and path.with_suffix(".log").is_file()


@pytest.mark.slurm
def test_an_interrupt_takes_the_jobs_out_of_the_queue(cluster, tmp_path):
    path, out = tmp_path / "two.yaml", tmp_path / "runs"
    path.write_text("baseline: {rows: [R0], seeds: [0, 1], profile: quick}")
    book = write_book(tmp_path / "book", out, "time.sleep(300)")
    options = ["--workflow-profile", f"{ROOT}/sweeps/slurm", "--slurm-init-seconds-before-status-checks", "5"]
    batch = start(book, "rerun", str(path), "--out", str(out), "--", *options, env=cluster)
    wait_for(lambda: started(out), tmp_path, 180)
    os.killpg(batch.pid, signal.SIGINT)
    errors = batch.communicate(timeout=120)[1]
    assert batch.returncode == 2 and "fer_lib: Stopped from the keyboard" in errors
    assert set(say(cluster, "squeue", "--states=all", "--noheader", "--format=%T").split()) == {"CANCELLED"}
