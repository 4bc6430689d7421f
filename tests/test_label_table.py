"""The table of labels in book/data.md says what the code does."""

import importlib.util
from pathlib import Path

import pytest

from fer_lib import emotions
from fer_lib.emotions import Emotion

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def tool():
    spec = importlib.util.spec_from_file_location("label_table", ROOT / "tools" / "label_table.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_page_and_code_agree(tool):
    page = tool.PAGE.read_text(encoding="utf-8")
    assert tool.written(page) == page, "python tools/label_table.py"


def test_another_map_gives_another_page(tool, monkeypatch):
    monkeypatch.setitem(emotions.RAFDB_LABELS, 1, Emotion.FEAR)
    page = tool.PAGE.read_text(encoding="utf-8")
    assert tool.written(page) != page


def test_every_map_has_its_line(tool):
    assert set(tool.maps()) == set(tool.TITLES) and len(tool.TITLES) == 10
    header, rule, *lines = tool.table().split("\n")
    assert len(lines) == 10 and {line.count("|") for line in (header, rule, *lines)} == {12}


def test_a_line_word_for_word(tool):
    assert "| RAF-DB | number | `7` | `4` | `1` | `5` | `6` | `3` | `2` | | |" in tool.table()
    assert "| AffectNet | number | `0` | `1` | `3` | `2` | `6` | `5` | `4` | `7` | `8`, `9`, `10` |" in tool.table()
