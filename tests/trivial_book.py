"""A book whose one chapter trains nothing, for tests of what runs chapters: started like the true one, over in seconds."""

import json
import subprocess
import sys
from pathlib import Path

import nbformat

from fer_lib.parameters import Parameters
from fer_lib.record import read_records, record_path
from fer_lib.sources import sources

ONE = "baseline: {rows: [R0], seeds: [0], profile: quick}"
TWO = "baseline: {rows: [R0], seeds: [0, 1], profile: quick}"
ROOT = Path(__file__).resolve().parent.parent
# The command line, with the chapters of another folder.
COMMAND = "import sys, pathlib; from fer_lib import sweep, __main__; sweep.CHAPTERS = pathlib.Path(sys.argv[1]); sys.exit(__main__.main(sys.argv[2:]))"

# It says that it started, and writes the record that a run of this seed would have written, as write_record does,
# but slowly, so that a kill often cuts it off.
CODE = """
import json, os, time
from pathlib import Path
folder = Path(out)
with open(folder / "started.txt", "a") as started:
    started.write(f"{dataset} {seed}\\n")
BEFORE
record = json.loads((folder / "template.json").read_text()) | {"seed": seed}
path = folder / method / f"{row}-{dataset}-{profile}-seed{seed}.json"
path.with_suffix(".safetensors").touch()
part = path.with_suffix(f".{os.getpid()}.part")
text = json.dumps(record)
with part.open("w") as stream:
    for piece in (text[:1000], text[1000:]):
        stream.write(piece)
        stream.flush()
        time.sleep(1)
os.replace(part, path)
"""


def write_book(folder: Path, out: Path, before: str = "") -> Path:
    """The chapter ``baseline``, which does ``before`` first; its template of a record lies in ``out``, the folder of runs."""
    parameters = "\n".join(f"{name} = {value!r}" for name, value in Parameters().model_dump().items())
    code = CODE.replace("BEFORE", before)
    cells = [
        nbformat.v4.new_code_cell(parameters, metadata={"tags": ["parameters"]}),
        nbformat.v4.new_code_cell(code, metadata={"tags": ["run"]}),
        nbformat.v4.new_code_cell('(folder / "page.txt").touch()'),
    ]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    folder.mkdir(exist_ok=True)
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), folder / "baseline.ipynb")
    out.mkdir(parents=True, exist_ok=True)
    (out / "template.json").write_text(json.dumps(template()))
    return folder


def template(profile: str = "quick") -> dict:
    """A valid record of the baseline, seed 0."""
    record = read_records(method="baseline", row="R0", dataset="faces", profile="quick")[0]
    changes = {"profile": profile, "parameters": Parameters(profile=profile).meant(), "sources": sources("baseline", "faces")}
    return record.model_dump() | changes


def start(book: Path, *arguments: str, **how) -> subprocess.Popen:
    """``python -m fer_lib`` with that book, in a process group of its own; what it says can be read."""
    command = [sys.executable, "-c", COMMAND, str(book), *arguments]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, cwd=ROOT, start_new_session=True, **pipes, **how)


def started(out: Path) -> list[str]:
    """Dataset and seed of every run that was ever started, in order."""
    path = out / "started.txt"
    return path.read_text().splitlines() if path.is_file() else []


def made(out: Path, seed: int) -> Path:
    """The record of a run of ``TWO``."""
    return record_path(out, "baseline", f"R0-faces-quick-seed{seed}")


def finish(out: Path, seed: int) -> None:
    """As if the run had been made before."""
    made(out, seed).parent.mkdir(exist_ok=True)
    made(out, seed).write_text(json.dumps(template() | {"seed": seed}))
    made(out, seed).with_suffix(".safetensors").touch()
