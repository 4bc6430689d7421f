"""The floors of fer_lib: imports go down only (the contract stands in pyproject.toml)."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def lint(folder: Path) -> subprocess.CompletedProcess:
    """import-linter on the package in ``folder``, with that folder's contract."""
    return subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache", "--no-logo"],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
    )


@pytest.fixture
def copy(tmp_path):
    shutil.copytree(ROOT / "fer_lib", tmp_path / "fer_lib", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def test_imports_go_down_only():
    result = lint(ROOT)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "1 kept" in result.stdout


def test_an_import_that_goes_up_is_seen(copy):
    with open(copy / "fer_lib" / "data" / "faceset.py", "a") as module:
        module.write("\nimport fer_lib.train\n")
    result = lint(copy)
    assert result.returncode != 0
    assert "fer_lib.data is not allowed to import fer_lib.train" in result.stdout


def test_a_module_without_a_floor_is_seen(copy):
    (copy / "fer_lib" / "attic.py").write_text("")
    result = lint(copy)
    assert result.returncode != 0
    assert "attic" in result.stdout + result.stderr
