"""Fill .venv once: what requirements.lock pins, fer_lib itself, and one setting of JupyterLab.

`make` calls it before every target.

The stamp in .venv is written last and holds a hash of what was asked for, so
that a second call returns at once, a change of the pins installs the change,
and a half-finished installation is never taken for a whole one.
"""

import errno
import hashlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NEEDED_GB = 13 if sys.platform == "linux" else 4
MODULES = {
    "venv": "python3-venv",
    "ensurepip": "python3-venv",
    "ssl": "libssl-dev",
    "sqlite3": "libsqlite3-dev",
    "ctypes": "libffi-dev",
}
NETWORK = re.compile(
    r"NewConnectionError|NameResolutionError|ConnectTimeout|Read timed out|ProxyError|SSLError|Max retries"
)
# Without it, JupyterLab drops an upload above 10 MB and says nothing: playground.ipynb takes photos.
JUPYTER = {"ServerApp": {"tornado_settings": {"websocket_max_message_size": 100_000_000}}}
LARGE = re.compile(r"(Downloading|Using cached) (\S+?)-(\d[^-]*)-\S+ \(((?:\d+\.\d GB)|(?:\d{2,}\.\d MB))\)")


class SetupError(Exception):
    """One sentence for the reader."""


def wanted(root: Path) -> str:
    """Where it is installed, and a hash of what."""
    key = hashlib.sha256(json.dumps(JUPYTER).encode())
    for name in ("requirements.lock", "pyproject.toml"):
        key.update((root / name).read_bytes())
    return f"{root}\n{key.hexdigest()}\n"


def interpreter(root: Path) -> Path:
    return root / ".venv" / "bin" / "python"


def is_done(root: Path) -> bool:
    stamp = root / ".venv" / "installed"
    return stamp.is_file() and stamp.read_text() == wanted(root) and interpreter(root).exists()


def is_useless(root: Path) -> bool:
    """Whether .venv is half-finished, has lost its Python, or was moved: scripts in it name its first place."""
    venv = root / ".venv"
    stamp = venv / "installed"
    moved = stamp.is_file() and stamp.read_text().splitlines()[:1] != [str(root)]
    return venv.exists() and (moved or (venv / "unfinished").exists() or not interpreter(root).exists())


def check_python() -> None:
    for module, package in MODULES.items():
        if importlib.util.find_spec(module) is None:
            raise SetupError(
                f"The Python at {sys.executable} lacks its module `{module}`: add it"
                f" (on Debian and Ubuntu: apt install {package}) or name another Python with PYTHON=..."
            )


def check_space(root: Path, free: int | None = None) -> None:
    free_gb = (shutil.disk_usage(root).free if free is None else free) / 1e9
    if free_gb < NEEDED_GB:
        raise SetupError(f"The installation needs about {NEEDED_GB} GB of free disk, and {root} has {free_gb:.1f} GB.")


def explain(log: str) -> str:
    """The one sentence for a failed pip, from what pip printed."""
    if "No space left on device" in log:
        return f"The disk is full: the installation needs about {NEEDED_GB} GB, in this folder and in pip's cache."
    if NETWORK.search(log):
        return "pip cannot reach its package index: check the network, or the proxy, and run the command again."
    if missing := re.search(r"No matching distribution found for (\S+)", log):
        version = ".".join(map(str, sys.version_info[:2]))
        return f"There is no {missing[1]} for Python {version} on this system: try Python 3.11 to 3.13 with PYTHON=..."
    return "pip failed; its last words are above, all of them in .venv/install.log."


def run_pip(root: Path) -> None:
    """Install, showing of pip's output only the large downloads."""
    temporary = root / ".venv" / "tmp"
    temporary.mkdir(exist_ok=True)
    command = [interpreter(root), "-m", "pip", "--no-input", "--disable-pip-version-check", "install"]
    command += ["--progress-bar", "off", "--no-deps", "-r", "requirements.lock", "-e", "."]
    environment = os.environ | {"TMPDIR": str(temporary)}
    lines = []
    with (
        subprocess.Popen(
            command, cwd=root, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as pip,
        open(root / ".venv" / "install.log", "w") as log,
    ):
        for line in pip.stdout:
            lines.append(line)
            log.write(line)
            if large := LARGE.search(line):
                print(f"  {large[1].lower()} {large[2]} {large[3]} ({large[4]})", flush=True)
            elif line.startswith("Installing collected packages"):
                print(f"  unpacking, packages: {line.count(',') + 1}", flush=True)
    shutil.rmtree(temporary, ignore_errors=True)
    if pip.returncode:
        sentence = explain("".join(lines))
        if "last words" in sentence:
            sys.stderr.writelines(lines[-15:])
        raise SetupError(sentence)


def set_up_jupyter(root: Path) -> None:
    folder = root / ".venv" / "etc" / "jupyter"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "jupyter_server_config.json").write_text(json.dumps(JUPYTER))


def install(root: Path) -> None:
    if is_done(root):
        return
    check_python()
    venv = root / ".venv"
    unfinished = venv / "unfinished"
    if is_useless(root):
        shutil.rmtree(venv)
    fresh = not venv.exists()
    if fresh:
        check_space(root)
    venv.mkdir(exist_ok=True)
    unfinished.touch()
    (venv / "installed").unlink(missing_ok=True)
    size = "6.5 GB" if sys.platform == "linux" else "2 GB"
    what = f"Installing into .venv: about {size}, a few minutes, once." if fresh else "Bringing .venv up to date."
    print(what, flush=True)
    start = time.monotonic()
    if fresh and subprocess.run([sys.executable, "-m", "venv", venv]).returncode:
        raise SetupError("The virtual environment could not be made; the reason is above.")
    run_pip(root)
    set_up_jupyter(root)
    (venv / "installed").write_text(wanted(root))
    unfinished.unlink()
    print(f"Installed in {time.monotonic() - start:.0f} s.", flush=True)


if __name__ == "__main__":
    try:
        install(ROOT)
    except SetupError as error:
        sys.exit(str(error))
    except OSError as error:
        sys.exit(explain(str(error)) if error.errno == errno.ENOSPC else f".venv cannot be made: {error}.")
    except KeyboardInterrupt:
        sys.exit("Stopped before the end; the next call starts the installation anew.")
