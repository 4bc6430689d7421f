"""Seconds and memory, measured so that two recipes can be compared: in turns, with their spread, in a process of their own."""

import resource
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import psutil
import torch


class Spread(NamedTuple):
    """Several measurements of one thing: the least, the median, the greatest.

    Explained in: book/speed.md
    """

    low: float
    middle: float
    high: float

    @classmethod
    def of(cls, values: list[float]) -> "Spread":
        """Of one value or more."""
        return cls(min(values), median(values), max(values))


def stopwatch(work: Callable[[], object], device: torch.device, clock: Callable[[], float] = time.perf_counter) -> float:
    """Seconds from the call of ``work`` until the device has done all that it was given.

    Explained in: book/speed.md
    """
    wait_for(device)
    started = clock()
    work()
    wait_for(device)
    return clock() - started


def wait_for(device: torch.device) -> None:
    """Wait until a graphics card has done all that it was given; a CPU is never behind.

    Explained in: book/speed.md
    """
    if device.type != "cpu":
        torch.accelerator.synchronize(device)


def in_turns(works: dict[str, Callable[[], Any]], repeats: int) -> dict[str, list[Any]]:
    """Call each work once per repeat, after one call to warm up, and keep what it returns.

    Every other repeat goes through them backwards: where the machine slowly becomes faster or slower,
    all of them have their share of it.

    Returns:
        ``repeats`` values for each name; values of the same place belong to the same repeat.

    Explained in: book/speed.md
    """
    found: dict[str, list[Any]] = {name: [] for name in works}
    for turn in range(repeats + 1):
        for name in list(works) if turn % 2 else reversed(works):
            value = works[name]()
            if turn:
                found[name].append(value)
    return found


def resident_peak() -> int:
    """Most bytes of memory that this process has had at once so far.

    On Linux from ``/proc``, because what ``getrusage`` says there begins with the memory of the parent process.

    Explained in: book/speed.md
    """
    status = Path("/proc/self/status")
    if status.is_file():
        return 1024 * next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def workers_memory() -> int:
    """Bytes that the child processes of this process have for themselves now; what they share with it is not counted.

    Explained in: book/speed.md
    """
    total = 0
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):  # it may have ended meanwhile
            total += child.memory_full_info().uss
    return total
