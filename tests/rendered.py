"""The rendered book, for the tests that look at it: its pages, and how they are built."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat

ROOT = Path(__file__).resolve().parent.parent
PROSE = ("intro", "data", "reruns", "speed", "teach", "troubleshooting", "status", "glossary", "references")
CHAPTERS = tuple(sorted(path.stem for path in (ROOT / "book").glob("*.ipynb")))


def build(root: Path) -> subprocess.CompletedProcess:
    """Build the book in ``root`` as `make book` does."""
    return subprocess.run(
        [sys.executable, "tools/build_book.py"],
        cwd=root,
        env=os.environ | {"NO_COLOR": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def at_smoke(path: Path) -> None:
    """Set the chapter's parameters as nbmake does, after the parameters cell; its runs get a folder of their own.

    Another process may run the same chapter at the same time.
    """
    notebook = nbformat.read(path, as_version=4)
    cell = next(cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", []))
    values = dict(cell.metadata["nbmake"]["mock"])
    if "\nout = " in cell.source:
        values["out"] = str(path.parent.parent / "runs")
    cell.source += "".join(f"\n{name} = {value!r}" for name, value in values.items())
    nbformat.write(notebook, path)


def whole_book(root: Path) -> Path:
    """Render the whole book in the empty folder ``root``, every chapter executed at the smoke profile."""
    for name in ("book", "fer_lib", "sweeps", "tools"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__", "runs"))
    for name in ("_config.yml", "_toc.yml", "genindex.md", "requirements.lock"):
        shutil.copy(ROOT / name, root)
    for chapter in CHAPTERS:
        at_smoke(root / "book" / f"{chapter}.ipynb")
    result = build(root)
    assert result.returncode == 0, result.stdout
    return root / "_build" / "html"
