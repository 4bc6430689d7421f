"""What a sweep lacks, run by Snakemake: what is finished stays, one failure is alone, and all of them end in a table.

Every run is one papermill run of its method's chapter, whose cells tagged ``run`` belong to it (the others
belong to the page); Snakemake decides how many of them run at once, and where.
"""

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import nbformat
import psutil
import yaml
from nbformat import NotebookNode

from fer_lib.errors import FerError
from fer_lib.parameters import Parameters
from fer_lib.record import LIBRARY, read_record, record_path
from fer_lib.run import RUNS, load_faces
from fer_lib.sweep import chapter, find_sweep, read_sweep

SNAKEFILE = LIBRARY.parent / "Snakefile"
WARM = LIBRARY.parent / "tools" / "warm.py"
# At these profiles a sweep executes a chapter from its first line to its last, else what belongs to the run.
WHOLE = ("smoke", "page")
# The tags of the cells that hold parameters: the chapter's, and papermill's.
GIVEN = {"parameters", "injected-parameters"}
ABSENT = "not run yet"
LAST_LINES = 3
FULL = 2**20
ELSEWHERE = {"--executor", "-e", "--profile", "--workflow-profile"}
LONGEST = 107  # bytes of a socket's path
PATIENCE = 30  # seconds until snakemake and its runs are interrupted again


def unfinished(run: Parameters) -> str:
    """Why a run has to be run: "" if its record is there and valid.

    A record is not valid any more when the sources that decide the result, the parameters, the faces, or
    the code of the chapter that made it have changed.

    Explained in: book/reruns.md
    """
    path = record_path(Path(run.out), run.method, run.name)
    if not path.is_file():
        return ABSENT
    try:
        record = read_record(path)
    except FerError:
        return "its record is damaged"
    if not path.with_suffix(".safetensors").is_file():
        return "its weights are gone"
    if record.stale():
        return "fer_lib has changed"
    if record.parameters != run.meant():
        return "its parameters have changed"
    made_by = _code(path.with_suffix(".ipynb"), run)
    if made_by and made_by != _code(chapter(run.method), run):
        return "its chapter has changed"
    if run.dataset == "faces":  # the sources say how they are drawn
        return ""
    recipe, _ = run.resolve()
    faces = Parameters(dataset=run.dataset, data=run.data, fold=run.fold)
    seen = {split: _fingerprint(faces, split, getattr(recipe, f"{split}_images")) for split in record.fingerprint}
    return "" if seen == record.fingerprint else "its data have changed"


def rerun(sweep: str, out: Path = RUNS, cores: int = 1, options: tuple[str, ...] = (), log=print) -> int:
    """Run what a sweep lacks; a run that fails is tried once more and does not stop the others.

    Args:
        sweep: see :func:`fer_lib.sweep.find_sweep`.
        out: folder of records, executed notebooks and logs.
        cores: how many runs at once, one thread each.
        options: handed on to snakemake, for example ``--resources gpu=1`` or a profile.

    Returns:
        How many runs failed; each is named with its log's last lines.

    Raises:
        FerError: as :func:`fer_lib.sweep.read_sweep`, if ``out`` cannot be written, if another rerun is at work
            there, or if it is interrupted from the keyboard or told to stop (SIGTERM; runs at work are finished first).

    Explained in: book/reruns.md
    """
    out = out.resolve()
    _fingerprint.cache_clear()
    with _alone(out) as lock:
        runs = read_sweep(find_sweep(sweep), out)
        wanted = {_key(run): run for run in runs if unfinished(run)}
        # What they start from comes first, whether the sweep names it or not.
        needed = {_key(first): first for run in wanted.values() for first in run.recognizers().values()}
        todo = {key: run for key, run in {**needed, **wanted}.items() if key in wanted or unfinished(run)}
        log(f"{len(runs)} runs in {sweep}: {len(runs) - len(wanted)} finished, {len(todo)} to do")
        begun = time.time()
        if todo:
            _prepare(out, todo)
            command = [sys.executable, "-m", "snakemake", "--snakefile", str(SNAKEFILE), "--directory", str(out)]
            command += ["--cores", str(cores), "--retries", "1", "--keep-going", "--nolock", "--ignore-incomplete"]
            command += ["--rerun-triggers", "params", "--quiet", "rules", "host"]
            with _warm(options) as places:
                _wait_for([*command, *options], lock, places)
        failed = {key: why for key, run in todo.items() if (why := unfinished(run))}
        for key, why in failed.items():
            run = todo[key]
            path = _file(run, ".log")
            last = "\n    ".join(_last_words(path) + _words_of_slurm(out, run, begun) or ["it left no word: it never started, or was killed"])
            log(f"FAILED {key}: {'no record' if why == ABSENT else why}, log {path}:\n    {last}")
        if failed and shutil.disk_usage(out).free < FULL:
            log(f"The disk of {out} is full: free some space and start again; what is finished stays.")
        log(f"{len(todo) - len(failed)} of {len(todo)} runs made their record")
    return len(failed)


def _key(run: Parameters) -> str:
    return f"{run.method}/{run.name}"


def _file(run: Parameters, suffix: str) -> Path:
    return record_path(Path(run.out), run.method, run.name).with_suffix(suffix)


def _prepare(out: Path, todo: dict[str, Parameters]) -> None:
    """Write the plan that the Snakefile reads, and each run's parameters; put superseded records aside."""
    methods = {run.method for run in todo.values() if run.profile not in WHOLE}
    parts = {method: _part(nbformat.read(chapter(method), as_version=4)) for method in methods}
    plan = {}
    with _writing(out):
        for method, part in parts.items():
            path = out / method / "chapter.ipynb"
            path.parent.mkdir(exist_ok=True)
            nbformat.write(part, path.with_suffix(".part"))
            path.with_suffix(".part").replace(path)
        for key, run in todo.items():
            record = _file(run, ".json")
            record.parent.mkdir(parents=True, exist_ok=True)
            # A run that outlived a killed batch may have finished since it was asked.
            if record.exists() and unfinished(run):
                # Superseded, and kept beside until somebody deletes it.
                record.replace(record.with_suffix(".json.old"))
            record.with_suffix(".yaml").write_text(yaml.safe_dump(run.model_dump(), sort_keys=False))
            plan[key] = {
                "chapter": str(chapter(run.method) if run.profile in WHOLE else out / run.method / "chapter.ipynb"),
                "after": [f"{first}.json" for first in map(_key, run.recognizers().values()) if first in todo],
                "gpu": int(run.device.startswith("cuda")),
            }
        (out / "plan.json").write_text(json.dumps(plan, indent=1))


def _wait_for(command: list[str], lock: int, places: dict[str, str]) -> None:
    with _passing_on() as (heard, to), subprocess.Popen(command, pass_fds=(lock,), env={**os.environ, **places}) as snakemake:
        to.append(snakemake)
        if heard:
            snakemake.terminate()
        try:
            snakemake.wait()
        except KeyboardInterrupt as error:
            # Snakemake heard it, too, and ends its runs, on a cluster those in the queue. Leaving the block waits until it has.
            # Sometimes it misses it, and starts the run again that it has seen fail: so both are told again, and at last ended.
            for number in (signal.SIGINT, signal.SIGINT, signal.SIGKILL):
                with suppress(subprocess.TimeoutExpired):
                    snakemake.wait(PATIENCE)
                if snakemake.poll() is None:
                    _send(snakemake.pid, number)
            raise FerError("Stopped from the keyboard: what is finished stays, and the same command goes on.") from error
    if heard:
        raise FerError("Told to stop: the runs at work have ended, what is finished stays, and the same command goes on.")


def _send(pid: int, number: int) -> None:
    """Send a signal to a process and all that it has started, as a terminal does."""
    with suppress(psutil.NoSuchProcess):
        first = psutil.Process(pid)
        for process in [first, *first.children(recursive=True)]:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(number)


@contextmanager
def _passing_on() -> Iterator[tuple[list[int], list[subprocess.Popen]]]:
    """Pass SIGTERM on to the processes in the second list, instead of dying and leaving them behind; the first says if one came."""
    heard: list[int] = []
    to: list[subprocess.Popen] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: (heard.append(number), [process.terminate() for process in to]))
    try:
        yield heard, to
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _warm(options: tuple[str, ...]) -> Iterator[dict[str, str]]:
    """Keep a process that becomes a run sooner than a new one would (tools/warm.py); yields how runs find it.

    It ends with this process, however that ends. There is none where runs are sent elsewhere, as to a cluster; where a fork of
    large libraries is not safe, that is but on Linux; and where the path of its socket would be too long.
    """
    elsewhere = any(option.partition("=")[0] in ELSEWHERE for option in options)
    with TemporaryDirectory() as folder:
        place = str(Path(folder) / "warm")
        if elsewhere or sys.platform != "linux" or len(os.fsencode(place)) > LONGEST:
            yield {}
            return
        command, env = [sys.executable, str(WARM), place], {**os.environ, "OMP_NUM_THREADS": "1"}
        # The end of its standard input is its end.
        with subprocess.Popen(command, stdin=subprocess.PIPE, env=env):
            yield {"FER_LIB_WARM": place}


def _last_words(path: Path) -> list[str]:
    lines = path.read_text(errors="replace").split("\n") if path.is_file() else []
    return [line.strip() for line in lines if line.strip()][-LAST_LINES:]


def _words_of_slurm(out: Path, run: Parameters, since: float) -> list[str]:
    """What Slurm itself said of a job: that it ended it, and why; the run's own log does not know."""
    logs = (out / ".snakemake" / "slurm_logs" / "rule_run" / _key(run).replace("/", "_")).glob("*.log")
    new = sorted((path.stat().st_mtime, path) for path in logs if path.stat().st_mtime > since)
    lines = new[-1][1].read_text(errors="replace").splitlines() if new else []
    return [line.strip() for line in lines if line.startswith(("srun:", "slurmstepd:"))][-LAST_LINES:]


def _part(notebook: NotebookNode) -> NotebookNode:
    """The notebook with the cells of a run alone."""
    notebook.cells = [cell for cell in notebook.cells if {*GIVEN, "run"} & _tags(cell)]
    return notebook


def _code(path: Path, run: Parameters) -> list[str]:
    """The code cells that a run executes of a notebook, without those that hold parameters; none where it is absent or damaged."""
    try:
        notebook = nbformat.read(path, as_version=4)
    except (FileNotFoundError, ValueError):
        return []
    cells = notebook.cells if run.profile in WHOLE else _part(notebook).cells
    return [c.source for c in cells if c.cell_type == "code" and not GIVEN & _tags(c)]


@cache
def _fingerprint(faces: Parameters, split: str, count: int) -> str:
    """Of at most so many faces of a dataset (0: all), as they are now; "" if they cannot be read."""
    recipe = faces.resolve()[0].model_copy(update={f"{split}_images": count})
    try:
        return load_faces(faces, recipe, split).fingerprint
    except FerError:
        return ""


def _tags(cell: NotebookNode) -> set[str]:
    return set(cell.metadata.get("tags", ()))


@contextmanager
def _writing(out: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise FerError(f"{out} cannot be written ({error.strerror}): free some space, or name another folder (--out).") from error


@contextmanager
def _alone(out: Path) -> Iterator[int]:
    """Hold the folder by a lock, and yield its descriptor.

    Snakemake inherits it: should this process be killed alone, the folder stays held as long as its runs go on.
    """
    with _writing(out):
        out.mkdir(parents=True, exist_ok=True)
        lock = (out / "rerun.lock").open("w")
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise FerError(f"Another rerun is at work in {out}: wait for it, or name another folder (--out).") from error
        yield lock.fileno()
