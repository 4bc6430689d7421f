"""Set-up: the files that install, cite and check the project agree with each other."""

import importlib.util
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import nbformat
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted((ROOT / "book").glob("*.ipynb"))
CONDA_NAMES = {"playwright": "playwright-python", "snakemake": "snakemake-minimal", "torch": "pytorch"}
BY_PIP = {"axe-playwright-python", "jupyterlab-myst", "sphinx-mathjax-offline"}  # come with fer_lib itself; not known to be on conda-forge


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def requirements() -> list[Requirement]:
    project = tomllib.loads(text("pyproject.toml"))["project"]
    return [Requirement(line) for line in project["dependencies"] + project["optional-dependencies"]["test"]]


def locked() -> list[Requirement]:
    return [Requirement(line) for line in text("requirements.lock").splitlines() if not line.startswith("#")]


@pytest.fixture(scope="module")
def install():
    spec = importlib.util.spec_from_file_location("install", ROOT / "tools" / "install.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_conda_asks_for_what_pyproject_asks_for():
    environment = yaml.safe_load(text("environment.yml"))["dependencies"]
    conda = {Requirement(line) for line in environment if isinstance(line, str)}
    ours = {CONDA_NAMES.get(r.name, r.name): r.specifier for r in requirements() if r.name not in BY_PIP}
    python = tomllib.loads(text("pyproject.toml"))["project"]["requires-python"]
    assert {r.name: str(r.specifier) for r in conda} == {
        **{name: str(specifier) for name, specifier in ours.items()},
        "python": python,
        "pip": "",
    }
    assert [line for line in environment if isinstance(line, dict)] == [{"pip": ["-e .[test]"]}]


@pytest.mark.parametrize("requirement", requirements(), ids=str)
def test_the_lock_satisfies_pyproject(requirement):
    pins = [pin for pin in locked() if canonicalize_name(pin.name) == canonicalize_name(requirement.name)]
    assert pins, f"{requirement.name} is not in requirements.lock: make lock"
    for pin in pins:
        (version,) = (specifier.version for specifier in pin.specifier)
        assert requirement.specifier.contains(version), f"{pin} does not satisfy {requirement}: make lock"


def test_the_lock_pins_everything_and_names_no_address():
    assert all([s.operator for s in pin.specifier] == ["=="] and pin.url is None for pin in locked())
    assert not re.search(r"://|^\s*-", text("requirements.lock"), re.MULTILINE)


@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13"])
@pytest.mark.parametrize("system", ["linux", "darwin", "win32"])
def test_one_pin_for_each_package_and_system(version, system):
    place = {
        "python_version": version,
        "python_full_version": f"{version}.1",
        "sys_platform": system,
        "os_name": "nt" if system == "win32" else "posix",
        "platform_machine": "arm64" if system == "darwin" else "x86_64",
        "platform_system": {"linux": "Linux", "darwin": "Darwin", "win32": "Windows"}[system],
    }
    names = [canonicalize_name(pin.name) for pin in locked() if pin.marker is None or pin.marker.evaluate(place)]
    assert len(names) == len(set(names))
    missing = {canonicalize_name(r.name) for r in requirements()} - set(names)
    assert not missing


def test_what_is_installed_fits_together():
    result = subprocess.run([sys.executable, "-m", "pip", "check"], capture_output=True, text=True)
    assert result.returncode == 0, result.stdout


def test_the_readme_begins_with_the_two_commands():
    first_block = re.search(r"```\w*\n(.*?)```", text("README.md"), re.DOTALL)
    assert [line.split("#")[0].strip() for line in first_block[1].splitlines()] == ["make book", "make test"]
    assert text("README.md")[: first_block.start()].count("\n") <= 3


def test_licences_and_citation():
    assert text("LICENSE").startswith("BSD 3-Clause License")
    assert "CC-BY 4.0" in text("LICENSE-text.md")
    citation = yaml.safe_load(text("CITATION.cff"))
    book = yaml.safe_load(text("_config.yml"))
    version = re.search(r'__version__ = "(.+)"', text("fer_lib/__init__.py"))[1]
    assert citation["title"] == book["title"]
    assert citation["version"] == version
    assert citation["repository-code"] == book["repository"]["url"]


def test_make_test_says_what_failed_and_what_was_skipped_and_why():
    asked = re.search(r"-m pytest .* -q .*book tests$", text("Makefile"), re.MULTILINE)[0]
    assert set("fEs") <= set(re.search(r" -r(\w+)", asked)[1])


def test_ci_and_workflow_call_the_same_commands():
    assert "make test" in text(".ci/run")
    assert (ROOT / ".ci" / "run").stat().st_mode & 0o111
    steps = yaml.safe_load(text(".github/workflows/book.yml"))["jobs"]["book"]["steps"]
    assert [step["run"] for step in steps if "run" in step] == ["make test", "make book"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
class TestNotebook:
    def test_it_is_in_the_toc(self, path):
        assert f"file: book/{path.stem}\n" in text("_toc.yml")

    def test_it_is_stored_without_outputs(self, path):
        notebook = nbformat.read(path, as_version=4)
        assert not any(cell.get("outputs") or cell.get("execution_count") for cell in notebook.cells)

    def test_the_first_code_cell_holds_the_parameters(self, path):
        cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
        assert "parameters" in cells[0].metadata.get("tags", [])
        assert not any("parameters" in cell.metadata.get("tags", []) for cell in cells[1:])
        if path.stem == "playground":
            return  # it trains nothing and reads no record
        assert re.search(r'^profile\s*(:\s*str\s*)?=\s*"(quick|page)"', cells[0].source, re.MULTILINE)

    def test_nbmake_runs_it_at_the_smoke_profile(self, path):
        (parameters, *_) = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
        assert parameters.metadata["nbmake"]["mock"] == ({"weights": ""} if path.stem == "playground" else {"profile": "smoke"})


def sources() -> list[Path]:
    folders = ("fer_lib", "tests", "tools", "book", ".ci", ".github", "sweeps")
    files = [path for folder in folders for path in (ROOT / folder).rglob("*") if path.is_file()]
    files += [path for path in ROOT.iterdir() if path.is_file()]
    kinds = {".py", ".ipynb", ".md", ".yml", ".yaml", ".toml", ".lock", ".json", ".cff", ".css", ".svg", ".bib", ""}
    skipped = {"__pycache__", ".ipynb_checkpoints", "runs"}
    return [path for path in files if path.suffix in kinds and not skipped & set(path.relative_to(ROOT).parts)]


def test_no_path_of_one_machine():
    pattern = re.compile(r"(?:^|[^\w.:/])/(?:work|farm|root|home|Users)/[A-Za-z.]", re.MULTILINE)
    for path in sources():
        found = pattern.search(path.read_text(encoding="utf-8"))
        assert not found, f"{path.relative_to(ROOT)}: {found[0].strip()}"


def test_no_file_is_long():
    for folder in ("fer_lib", "tests", "tools"):
        for path in (ROOT / folder).rglob("*.py"):
            lines = len(path.read_text(encoding="utf-8").splitlines())
            assert lines <= 300, f"{path.relative_to(ROOT)} has {lines} lines"


class TestInstall:
    @pytest.fixture
    def root(self, tmp_path):
        (tmp_path / "requirements.lock").write_text("one==1\n")
        (tmp_path / "pyproject.toml").write_text("[project]\n")
        return tmp_path

    @pytest.fixture
    def fake(self, install, monkeypatch):
        """No virtual environment is made and no pip runs; the calls are counted."""
        calls = []

        def make(command, **_):
            python = install.interpreter(Path(command[-1]).parent)
            python.parent.mkdir(parents=True)
            python.touch()
            calls.append("venv")
            return subprocess.CompletedProcess(command, 0)

        monkeypatch.setattr(install.subprocess, "run", make)
        monkeypatch.setattr(install, "run_pip", lambda root: calls.append("pip"))
        monkeypatch.setattr(install, "check_space", lambda root: None)
        return calls

    def test_a_second_call_does_nothing(self, install, root, fake):
        install.install(root)
        install.install(root)
        assert fake == ["venv", "pip"]

    @pytest.mark.parametrize("name", ["requirements.lock", "pyproject.toml"])
    def test_a_change_of_content_installs_again_and_a_new_time_does_not(self, install, root, fake, name):
        install.install(root)
        (root / name).write_text((root / name).read_text())
        install.install(root)
        assert fake == ["venv", "pip"]
        (root / name).write_text("# changed\n")
        install.install(root)
        assert fake == ["venv", "pip", "pip"]

    def test_a_moved_folder_or_a_lost_python_starts_anew(self, install, root, fake):
        install.install(root)
        moved = root.rename(root.with_name("moved"))
        install.install(moved)
        assert fake == ["venv", "pip"] * 2
        install.interpreter(moved).unlink()
        install.install(moved)
        assert fake == ["venv", "pip"] * 3

    def test_a_half_finished_installation_is_not_taken_for_a_whole_one(self, install, root, fake, monkeypatch):
        def killed(root):
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(install, "run_pip", killed)
            with pytest.raises(KeyboardInterrupt):
                install.install(root)
        (root / ".venv" / "half.txt").touch()
        assert not install.is_done(root)
        install.install(root)
        assert fake == ["venv", "venv", "pip"]
        assert not (root / ".venv" / "half.txt").exists()

    @pytest.mark.parametrize(
        ("log", "sentence"),
        [
            ("OSError: [Errno 28] No space left on device", "The disk is full"),
            ("... NewConnectionError('...')\nERROR: No matching distribution found for torch==2", "cannot reach"),
            ("ERROR: No matching distribution found for torch==2.15.0", "There is no torch==2.15.0 for Python"),
            ("error: metadata-generation-failed", "pip failed"),
        ],
    )
    def test_one_sentence_says_why_pip_failed(self, install, log, sentence):
        said = install.explain(log)
        assert sentence in said and "\n" not in said

    def test_too_little_space_is_said_before_anything_is_fetched(self, install, root):
        with pytest.raises(install.SetupError, match=r"needs about \d+ GB of free disk.* has 1\.0 GB"):
            install.check_space(root, free=10**9)

    def test_no_python_is_said_in_one_sentence(self):
        result = subprocess.run(
            ["make", "install", "PYTHON=no-such-python"], cwd=ROOT, capture_output=True, text=True
        )
        assert result.returncode != 0
        assert result.stderr.startswith("No Python 3.11 or newer among: no-such-python.")
