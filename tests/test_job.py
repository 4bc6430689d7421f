"""A run of a batch: the notebook that it leaves, and the warm process that becomes it."""

import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import nbformat
import psutil
import pytest
import yaml

TOOLS = Path(__file__).resolve().parent.parent / "tools"
PARAMETERS = nbformat.v4.new_code_cell("n = 1", metadata={"tags": ["parameters"]})
KERNEL = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}


@contextmanager
def begun(place: Path):
    """A warm process that listens there."""
    command = [sys.executable, str(TOOLS / "warm.py"), str(place)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        while not place.exists():
            time.sleep(0.05)
        yield process


@pytest.fixture(scope="module")
def warm(tmp_path_factory):
    """A warm process, and where it listens."""
    place = tmp_path_factory.mktemp("warm") / "socket"
    with begun(place) as process:
        yield process, place


@pytest.fixture
def start(tmp_path, monkeypatch):
    """Starts a job that executes these cells after one with parameters."""

    def start(*cells: str) -> subprocess.Popen:
        notebook = nbformat.v4.new_notebook(cells=[PARAMETERS, *map(nbformat.v4.new_code_cell, cells)], metadata=KERNEL)
        nbformat.write(notebook, tmp_path / "chapter.ipynb")
        (tmp_path / "given.yaml").write_text(yaml.safe_dump({"n": 7}))
        names = ("record.json", "chapter.ipynb", "made.ipynb", "given.yaml")
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        return subprocess.Popen([sys.executable, str(TOOLS / "job.py"), *names], cwd=tmp_path, **pipes)

    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    return start


@pytest.fixture(params=["cold", "warm"])
def job(request, start, tmp_path, monkeypatch):
    """Starts such jobs without a warm process, or with one."""
    start.warm, place = request.getfixturevalue("warm") if request.param == "warm" else (None, tmp_path / "nobody")
    monkeypatch.setenv("FER_LIB_WARM", str(place))
    return start


def made(tmp_path: Path) -> list[nbformat.NotebookNode]:
    notebook = nbformat.read(tmp_path / "made.ipynb", as_version=4)
    nbformat.validate(notebook)
    return notebook.cells


def test_what_cells_print_and_show_is_kept_and_what_they_print_is_heard(job, tmp_path):
    draw = "import matplotlib.pyplot as plt\nplt.plot([1, 2]);"
    warn = "import sys\nprint('×', file=sys.stderr)"
    said, _ = job("print('number', n)\nn + 1", "n + 2;", draw, "from IPython.display import display\ndisplay(n)", warn).communicate()
    assert said == "number 7\n×\n"
    given, printed, silent, drawn, shown, warned = made(tmp_path)[1:]
    assert given.metadata.tags == ["injected-parameters"] and not given.outputs
    assert [output.output_type for output in printed.outputs] == ["stream", "execute_result"]
    assert printed.outputs[0].text == "number 7\n" and printed.outputs[1].data["text/plain"] == "8"
    assert not silent.outputs
    assert [list(output.data) for output in drawn.outputs] == [["image/png", "text/plain"]]
    assert shown.outputs[0].data["text/plain"] == "7"
    assert [(output.name, output.text) for output in warned.outputs] == [("stderr", "×\n")]
    assert [cell.execution_count for cell in made(tmp_path)] == [1, 2, 3, 4, 5, 6, 7]


def test_a_cell_that_raises_ends_the_job_and_is_said(job, tmp_path):
    process = job("raise ValueError('no such face')", "print('never')")
    said, _ = process.communicate()
    assert process.returncode == 1 and "ValueError: no such face" in said.rstrip().splitlines()[-1] and "never\n" not in said
    failed, after = made(tmp_path)[-2:]
    assert failed.metadata.papermill.exception and failed.outputs[0].evalue == "no such face"
    assert after.metadata.papermill.status == "pending" and not after.outputs


def test_a_job_whose_record_is_there_does_nothing(job, tmp_path):
    (tmp_path / "record.json").touch()
    process = job("print('never')")
    assert process.communicate() == ("", None) and process.returncode == 0 and not (tmp_path / "made.ipynb").exists()


def test_a_run_that_breaks_down_fails_its_job_alone(job, tmp_path):
    process = job("import os\nos.kill(os.getpid(), 9)")
    said, _ = process.communicate()
    assert process.returncode == (1 if job.warm else -signal.SIGKILL)
    assert said.startswith("The run was killed") == bool(job.warm)
    said, _ = job("import sys\nprint(any(place.endswith('tools') for place in sys.path))").communicate()
    assert said == "False\n"


def test_a_job_of_slurm_runs_where_slurm_put_it(job, tmp_path, monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    process = job("import os\nprint(os.getpid())")
    assert int(process.communicate()[0]) == process.pid


def test_a_warm_process_that_dies_leaves_its_runs_and_later_ones_run_without_it(start, tmp_path, monkeypatch):
    with begun(tmp_path / "socket") as warm:
        monkeypatch.setenv("FER_LIB_WARM", str(tmp_path / "socket"))
        working = start("import os, time\nopen('pid', 'w').write('x')\ntime.sleep(2)\nprint(os.getpid())")
        while not (tmp_path / "pid").exists():
            time.sleep(0.05)
        warm.kill()
        warm.wait()
        later = start("import os\nprint(os.getpid())")
        assert int(later.communicate(timeout=60)[0]) == later.pid
        assert int(working.communicate()[0]) != working.pid and working.returncode == 0
    # One that cannot even import what it should has been asked already.
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (tmp_path / "torchmetrics.py").write_text("raise ImportError('broken')")
    (tmp_path / "socket").unlink()
    with begun(tmp_path / "socket"):
        asked = start("import os\nprint(os.getpid())")
        assert int(asked.communicate(timeout=60)[0]) == asked.pid


def test_the_run_ends_with_its_job_and_the_warm_process_with_its_batch(job, tmp_path):
    process = job("import os, time\nopen('pid', 'w').write(str(os.getpid()))\ntime.sleep(100)")
    while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
        time.sleep(0.05)
    run = psutil.Process(int((tmp_path / "pid").read_text()))
    forked = run.pid != process.pid
    assert forked == bool(job.warm)
    if forked:
        job.warm.stdin.close()
        time.sleep(0.3)
        assert job.warm.poll() is None, "it ends when its runs have ended"
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not psutil.wait_procs([run], timeout=10)[1]
    if forked:
        job.warm.wait(timeout=10)
