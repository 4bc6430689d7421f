"""All measurements of one call, as a table and as a record."""

import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from fer_lib.bench.against import SIDES, Setting, choose_steps, compare, memory
from fer_lib.bench.limit import measured_peak
from fer_lib.bench.linear import FACTORS, growth
from fer_lib.bench.parts import drawing, method_steps, preparation
from fer_lib.bench.timing import Spread
from fer_lib.errors import FerError
from fer_lib.machine import commit, describe, processor, versions
from fer_lib.recipe import mixed_precision, pick_device

SCHEMA = 1
SIZES = (48, 64, 112)


@dataclass(frozen=True)
class Plan:
    """How much is measured.

    Attributes:
        batch: pictures to a step in the comparison with the public recipe.
        repeats: of that comparison; seconds: about how long one epoch of it is, by the public network's step;
            least, most: steps to an epoch.
        memory: sizes of which the peak memory is measured.
        profile, overrides, steps, turns: of the methods' steps (:func:`fer_lib.bench.parts.method_steps`).
        drawn, prepared: pictures drawn at each size, and prepared as a dataset.
        images, records: at factor 1 of the growth.

    Explained in: book/speed.md
    """

    batch: int
    repeats: int
    seconds: float
    least: int
    most: int
    memory: tuple[int, ...]
    profile: str
    overrides: str
    steps: int
    turns: int
    drawn: int
    prepared: int
    images: int
    records: int

    @classmethod
    def of(cls, device: torch.device, quick: bool) -> "Plan":
        """For a CPU or a graphics card; ``quick``: less of everything, for two cores and three minutes."""
        if device.type == "cpu":
            several = (16, 5, 0.8, 4, 40, (112,)) if quick else (64, 7, 8.0, 12, 400, SIZES)
            methods = ("quick", "size=48 batch_size=16", 2, 2) if quick else ("quick", "size=64 batch_size=32", 6, 5)
        else:
            several = (512, 5, 0.5, 8, 16, (112,)) if quick else (512, 7, 5.0, 16, 64, SIZES)
            methods = ("full", "batch_size=128", 4 if quick else 20, 5)
        return cls(*several, *methods, *((64, 500, 32, 25) if quick else (512, 5000, 256, 100)))


def bench(name: str = "auto", quick: bool = False, log: Callable[[str], None] = print, plan: Plan | None = None) -> dict[str, Any]:
    """Measure everything on one device, and say each section as it begins.

    Args:
        name: of the device, see :func:`fer_lib.recipe.pick_device`.
        plan: in place of the one that fits the device.

    Returns:
        The record: plain numbers, strings, lists and :class:`Spread`.

    Raises:
        FerError: if the device is not on this machine.

    Explained in: book/speed.md
    """
    device, started = pick_device(name), time.perf_counter()
    plan, cores = plan or Plan.of(device, quick), _cores()
    found: dict[str, Any] = {"machine": machine(device, cores)}
    if (busy := found["machine"]["load"]) > 0.3:
        log(f"Something else is at work here (load {busy:.1f}): measure again when the machine is idle.")
    settings = [_setting(size, device, plan, cores) for size in SIZES]
    precision = "bf16" if mixed_precision(settings[0].recipe, device) else "fp32"
    log("What the machine can do at best ...")
    found |= {"precision": precision, "peak": {p: measured_peak(device, p) for p in dict.fromkeys((precision, "fp32"))}}
    found["compare"] = []
    for setting in settings:
        log(f"fer_lib and the public recipe at {setting.size} px ...")
        found["compare"].append(compare(setting, plan.repeats))
    log("Peak memory ...")
    found["memory"] = [{"size": s.size, **memory(s)} for s in settings if s.size in plan.memory]
    log("The methods' training steps ...")
    found["methods"] = method_steps(device, plan.profile, plan.overrides, plan.steps, plan.turns)
    log("Drawing faces, preparing a dataset ...")
    found |= {"drawing": drawing(SIZES, plan.drawn, 3, device), "preparation": preparation(plan.prepared, 3)}
    log("Growth ...")
    found["growth"] = growth(device, plan.images, plan.records, 2)
    found["goals"] = goals(found)
    about = {"schema_version": SCHEMA, "quick": quick, "plan": vars(plan), "versions": versions(), "commit": commit()}
    finished = datetime.now(UTC).isoformat(timespec="seconds")
    return {**about, "finished": finished, "seconds": time.perf_counter() - started, **found}


def machine(device: torch.device, cores: int) -> dict[str, Any]:
    """What it was measured on: ``device``, ``processor``, ``cores``, ``threads``, and the ``load`` of each core before it began.

    Explained in: book/speed.md
    """
    load = os.getloadavg()[0] / cores if hasattr(os, "getloadavg") else 0.0
    about = {"device": describe(device, False).rpartition(",")[0], "processor": processor(), "cores": cores}
    return about | {"threads": torch.get_num_threads(), "load": load}


def limit_share(found: dict[str, Any], row: dict[str, Any], work: str, side: str) -> float:
    """What share of the best convolution rate of the machine a recipe reaches, by its median images a second.

    Prediction, and all of the public recipe, is held against float32, ``fer_lib``'s training against its own precision.

    Explained in: book/speed.md
    """
    precision = found["precision"] if (work, side) == ("train", "fer_lib") else "fp32"
    rate = row[work][side]["images_per_second"].middle * row["flops"][work]
    return rate / found["peak"][precision]["convolution"]


def goals(found: dict[str, Any]) -> list[dict[str, Any]]:
    """What this project asks of itself: ``goal``, ``least`` or ``most``, ``measured`` (a median), ``met``.

    Explained in: book/speed.md
    """
    rows, on_cpu = {row["size"]: row for row in found["compare"]}, " cpu" in found["machine"]["device"]
    steps = {(line["method"], line["stage"]): line["ratio"].middle for line in found["methods"]}
    bounds = [
        ("training at 48 px, times the public recipe", rows[48]["train"]["ratio"].middle, 2.0 if on_cpu else 5.0, True),
        ("training at 112 px, share of the time outside the network", rows[112]["train"]["fer_lib"]["outside"].middle, 0.1, False),
        ("CLCL's training step, times the recognizer's", steps["clcl", "train"], 1.5, False),
        ("LNL's training step, times the recognizer's", steps["lnl", "train"], 2.0, False),
    ]
    if on_cpu:
        bounds.insert(1, ("training at 112 px, times the public recipe", rows[112]["train"]["ratio"].middle, 1.4, True))
    else:
        share = limit_share(found, rows[112], "train", "fer_lib")
        bounds.insert(1, ("training at 112 px, share of the convolution peak", share, 0.35, True))
    return [
        {"goal": goal, "least" if up else "most": bound, "measured": value, "met": value >= bound if up else value <= bound}
        for goal, value, bound, up in bounds
    ]


def table(found: dict[str, Any]) -> str:
    """The record as text, section by section.

    Explained in: book/speed.md
    """
    about, sections = found["machine"], []
    head = f"{about['processor']}, {about['cores']} cores; {about['device']}; training in {found['precision']}; "
    head += f"load of a core before: {about['load']:.2f}; {found['seconds']:.0f} s of measuring"
    sections.append("least / median / greatest of the repeats where three numbers stand\n" + head)
    memories = {m["size"]: m for m in found["memory"]}
    for work in ("train", "predict"):
        lines = []
        for row in found["compare"]:
            for side in SIDES:
                own, kept = row[work][side], memories.get(row["size"]) if work == "train" else None
                line = {"px": row["size"], "batch": row["batch"], "recipe": side, "images/s": _three(own["images_per_second"], 0)}
                line |= {"outside the network %": _three(own["outside"], 0, 100), "of the peak %": f"{100 * limit_share(found, row, work, side):.0f}"}
                line |= {"times as fast": _three(row[work]["ratio"], 2) if side == "fer_lib" else ""}
                lines.append(line | {"peak memory MB": f"{kept[side] / 1e6:.0f}" if kept else ""})
        sections.append(_text({"train": "Training", "predict": "Prediction"}[work], lines))
    peaks = [{"precision": p, **{k: f"{v / 1e9:.0f}" for k, v in rates.items()}} for p, rates in found["peak"].items()]
    sections.append(_text("At best, in thousand million floating-point operations a second", peaks))
    steps = [
        {"method": m["method"], "row": m["row"], "stage": m["stage"], "ms": _three(m["step"], 0, 1000)}
        | {"times the recognizer's": _three(m["ratio"], 2), "counted arithmetic": f"{m['flops_ratio']:.2f}"}
        for m in found["methods"]
    ]
    sections.append(_text(f"A training step ({found['plan']['profile']}, {found['plan']['overrides']})", steps))
    made = [{"what": f"drawing faces, {d['size']} px", "images/s": _three(d["images_per_second"], 0)} for d in found["drawing"]]
    ready = found["preparation"]
    made.append({"what": f"preparing {ready['images']} pictures", "images/s": _three(ready["images_per_second"], 0)})
    sections.append(_text(f"Data; prepared pictures are there again after {_three(ready['again'], 1, 1000)} ms", made))
    grown = [
        {"what": g["what"], "by": g["by"], **{f"x{k}, ms": f"{1000 * g['seconds'][k]:.0f}" for k in FACTORS}}
        | {"power": f"{g['power']:.2f}", "cost of one": f"{g['each']:.2f}"}
        for g in found["growth"]
    ]
    sections.append(_text("Growth (power 1 is linear)", grown))
    asked = [
        {"goal": g["goal"], "asked": f"{'at least' if 'least' in g else 'at most'} {g.get('least', g.get('most'))}"}
        | {"measured": f"{g['measured']:.2f}", "met": "yes" if g["met"] else "no"}
        for g in found["goals"]
    ]
    return "\n\n".join([*sections, _text("Asked for", asked)])


def keep(found: dict[str, Any], path: Path) -> None:
    """Write the record as JSON, whole or not at all.

    Raises:
        FerError: if the file cannot be written.

    Explained in: book/speed.md
    """
    part = path.with_name(path.name + ".part")
    try:
        part.write_text(json.dumps(found, indent=1, allow_nan=False) + "\n")
        os.replace(part, path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise FerError(f"{path} could not be written ({error.strerror}): free space or choose another folder.") from error


def _setting(size: int, device: torch.device, plan: Plan, cores: int) -> Setting:
    one = Setting(size, plan.batch, 1, str(device), min(cores, 16))
    return replace(one, steps=choose_steps(one, plan.seconds, plan.least, plan.most))


def _cores() -> int:
    """That this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _three(spread: Spread, digits: int, factor: float = 1.0) -> str:
    return " / ".join(f"{factor * value:.{digits}f}" for value in spread)


def _text(title: str, lines: list[dict[str, Any]]) -> str:
    return f"{title}\n{pd.DataFrame(lines).to_string(index=False)}"
