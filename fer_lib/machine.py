"""On what a run was made: the machine, the versions, the commit."""

import platform
import subprocess
from pathlib import Path

import kornia
import timm
import torch

import fer_lib
from fer_lib.sources import LIBRARY


def commit() -> str:
    """The repository's commit, or "" where there is none.

    Explained in: book/status.md
    """
    try:
        git = ["git", "-C", str(LIBRARY), "rev-parse", "HEAD"]
        return subprocess.run(git, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def processor() -> str:
    """The processor's name as the system gives it, without trade marks; else the kind of machine, such as ``arm64``.

    Explained in: book/status.md
    """
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.is_file() else []
    names = [line.split(":", 1)[1] for line in lines if line.startswith("model name")]
    name = names[0] if names else platform.processor()
    return " ".join(name.replace("(R)", " ").replace("(TM)", " ").split()) or platform.machine()


def describe(device: torch.device, mixed: bool) -> str:
    """The device in words: its name, for a CPU its kind, :func:`processor` and threads, and the precision of training.

    Explained in: book/status.md
    """
    precision = "bf16" if mixed else "fp32"
    if device.type == "cuda":
        return f"{torch.cuda.get_device_name(device)}, {precision}"
    threads = torch.get_num_threads()
    kind = f"{platform.machine()} {device.type}" + f" ({processor()})" * (processor() != platform.machine())
    return f"{kind}, {threads} thread{'s' * (threads > 1)}, {precision}"


def versions() -> dict[str, str]:
    """The versions that a result may depend on.

    Explained in: book/status.md
    """
    return {m.__name__: m.__version__ for m in (torch, timm, kornia, fer_lib)} | {"python": platform.python_version()}
