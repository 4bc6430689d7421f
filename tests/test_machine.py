"""What a record says of the machine."""

import platform

import pytest
import torch

from fer_lib import machine


def test_the_device_in_words(monkeypatch):
    monkeypatch.setattr(machine, "processor", lambda: "Some Processor")
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    kind = platform.machine()
    assert machine.describe(torch.device("cpu"), True) == f"{kind} cpu (Some Processor), 1 thread, bf16"
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    monkeypatch.setattr(machine, "processor", lambda: kind)
    assert machine.describe(torch.device("cpu"), False) == f"{kind} cpu, 2 threads, fp32"


@pytest.mark.parametrize(
    ("cpuinfo", "other", "name"),
    [
        ("flags\t: a b\nmodel name\t: Intel(R) Xeon(R) Gold: 6148\nmodel name\t: another\n", "", "Intel Xeon Gold: 6148"),
        ("flags\t: a b\n", "arm", "arm"),
        (None, "", platform.machine()),
    ],
)
def test_the_processor_has_a_name_wherever_it_stands(cpuinfo, other, name, tmp_path, monkeypatch):
    where = tmp_path / "cpuinfo"
    if cpuinfo is not None:
        where.write_text(cpuinfo)
    monkeypatch.setattr(machine, "Path", lambda path: where)
    monkeypatch.setattr(machine.platform, "processor", lambda: other)
    assert machine.processor() == name
