"""The glossary and the index agree: a page to which the glossary sends its reader has the word, and the index names it."""

import json
import re
from functools import cache

import pytest
from rendered import ROOT

DIRECTIVE = re.compile(r"^```\{index\} (.+)\n```$", re.MULTILINE)
LINK = re.compile(r"\[\]\(([\w.]+)\)")


def plain(text: str) -> str:
    return text.lower().replace("’", "'")


@cache
def prose(name: str) -> str:
    """What is written on a page, code cells left out."""
    text = (ROOT / "book" / name).read_text(encoding="utf-8")
    if name.endswith(".md"):
        return plain(text)
    cells = json.loads(text)["cells"]
    return plain("\n\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown"))


@cache
def indexed(name: str) -> dict[str, str]:
    """For each word that the index has of a page, the sections in which its entries stand, from heading to heading."""
    found = {}
    for section in re.split(r"^(?=#+ )", prose(name), flags=re.MULTILINE):
        for entry in DIRECTIVE.findall(section):
            found |= {word: found.get(word, "") + DIRECTIVE.sub("", section) for word in entry.split(", ")}
    return found


def entries() -> list[tuple[str, str]]:
    """Each word of the glossary with each page to which its entry leads."""
    text = (ROOT / "book" / "glossary.md").read_text(encoding="utf-8").split(":sorted:\n")[1]
    pairs = []
    for block in text.strip().removesuffix("```").strip().split("\n\n"):
        words = [line for line in block.splitlines() if not line.startswith("  ")]
        pages = LINK.findall(block)
        assert words and pages, f"no page explains {block}"
        pairs += [(word, page) for word in words for page in pages]
    return pairs


def test_there_is_a_glossary():
    assert {("ReLU", "clcl.ipynb"), ("head", "baseline.ipynb"), ("residual", "err_net.ipynb")} <= set(entries())


@pytest.mark.parametrize(("word", "page"), entries())
def test_the_index_and_the_page_have_the_word(word, page):
    assert plain(word) in indexed(page), f"book/{page} has no index entry for {word}"
    section = indexed(page)[plain(word)]
    assert re.search(rf"\b{re.escape(plain(word))}s?\b", section), f"{word} is not used where the index finds it in book/{page}"
