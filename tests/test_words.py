"""The spelling of the rendered pages: British, with -ize, as Oxford has it.

Looked at is what is read: text, tables, descriptions of pictures, the words in drawn diagrams. Not code, formulas,
addresses, names of rows, or who is cited. A word is right if a dictionary of English or words.txt has it, and codespell
has none that is better: it lists common misspellings, and for each American form the one that is ours.
"""

import contextlib
import io
import re
from functools import cache
from pathlib import Path

import pytest
from bs4 import BeautifulSoup
from codespell_lib import main as codespell
from rendered import CHAPTERS, PROSE, ROOT
from spellchecker import SpellChecker

from fer_lib.machine import processor

LIST = (ROOT / "tests" / "words.txt").read_text(encoding="utf-8").splitlines()
OURS = frozenset(LIST)
PAGES = (*(f"book/{name}" for name in PROSE + CHAPTERS), "genindex")
NOT_READ = "pre, code, script, style, .math, .animation, .headerlink, .bibtex-citation, .citation, ul.index a"
ADDRESS_OR_ROW = re.compile(r"\S+://\S+|\b[A-Z]\d+(?:-\w+)+")
WORD = re.compile(r"\w+(?:['’]\w+)*")


@cache
def dictionary() -> SpellChecker:
    return SpellChecker()


def page_at(path: Path) -> BeautifulSoup:
    return BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")


def text_of(article: BeautifulSoup) -> str:
    """What a reader reads, or hears, of a page."""
    described = [tag.get("alt", "") for tag in article.select("img")]
    for tag in article.select(NOT_READ):
        tag.decompose()
    return " ".join([article.get_text(" "), *described])


def words_of(text: str) -> list[str]:
    """The words, without a possessive's ending. What is not of letters alone is a name in code."""
    found = {re.sub(r"'s?$", "", word.replace("’", "'")) for word in WORD.findall(ADDRESS_OR_ROW.sub(" ", text))}
    return sorted(word for word in found if len(word) > 1 and word.replace("'", "").isalpha())


def misspelt(words: list[str], folder: Path, ours: frozenset[str] = OURS) -> dict[str, str]:
    """The words that no list knows, and those of which a list knows better; and what it knows."""
    strange = [word for word in words if not {word, word[0].lower() + word[1:]} & ours]
    file, said = folder / "words", io.StringIO()
    file.write_text("\n".join(strange), encoding="utf-8")
    with contextlib.redirect_stdout(said):
        codespell("--builtin", "clear,rare,en_to_en-OX", "--disable-colors", str(file))
    better = dict(re.findall(r"(\S+) ==> (.+)", said.getvalue()))
    return {word: better.get(word, "?") for word in strange if word in better or word not in dictionary()}


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_spelled_right(html, tmp_path, name):
    page = html / f"{name}.html"
    text = text_of(page_at(page).find("article")).replace(processor(), " ")  # a page names the machine that built it
    assert misspelt(words_of(text), tmp_path) == {}, "A new word of ours goes to tests/words.txt."


def test_a_misspelling_on_a_page_is_found_where_it_is_read(html, tmp_path):
    page = html / "book" / "intro.html"
    article = page_at(page).find("article")
    planted = """<p>The expresion's color, <b>recieved</b> and recognised by PyTorch, not Pytorch, in A7-gamm.</p>
        <p>https://hst.example/vgue <code>argmx</code> <span class="math">fooo</span></p><pre>nocolor</pre>
        <svg><text>eyebrowes</text></svg><img src="a.png" alt="a smilling face">
        <div class="animation"><img alt="it mooves">nocolor</div>"""
    article.append(BeautifulSoup(planted, "html.parser"))
    found = misspelt(words_of(text_of(article)), tmp_path)
    wrong = ["Pytorch", "color", "expresion", "eyebrowes", "mooves", "recieved", "recognised", "smilling"]
    assert list(found) == wrong and (found["color"], found["recognised"]) == ("colour", "recognized")


def test_our_words_are_sorted_and_each_is_needed(tmp_path):
    assert LIST == sorted(OURS, key=lambda word: (word.lower(), word))
    assert list(misspelt(LIST, tmp_path, ours=frozenset())) == LIST
