"""The rendered pages, and the promises of the build: what stops it, and when chapters run again."""

import importlib.util
import os
import re
import shutil
from functools import cache
from pathlib import Path
from urllib.parse import unquote, urlsplit

import nbformat
import pytest
from bs4 import BeautifulSoup
from rendered import CHAPTERS, PROSE, ROOT, build

SOURCES = ("fer_lib/methods/baseline.py", "book/results/baseline/run.json", "book/weights/SHA256SUMS", "requirements.lock")
OUR_FILE = re.compile(r"fer-lib/fer-book/(?:.*/)?main(?:/|\?urlpath=lab/tree/)(.+)")
LOOKED_UP = {
    "learning intensity": "clcl",
    "Grad-CAM": "baseline",
    "gate": "err_net",
    "effective rank": "clcl",
    "McNemar’s test": "baseline",
    "PSNR": "ll_fer",
    "stop gradient": "sr_fer",
    "batch mean": "baseline",
    "Slurm": "reruns",
    "papermill": "reruns",
    "checkpoint": "reruns",
}
DRAWN = {"intro", *CHAPTERS} & {path.stem.replace("cover", "intro") for path in (ROOT / "book" / "_static").glob("*.svg")}
COUNT = "print(open('count.txt', 'a').write('x'))"


def soup(path: Path) -> BeautifulSoup:
    return BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")


@cache
def cached_soup(path: Path) -> BeautifulSoup:
    return soup(path)


@cache
def places(page: Path) -> set[str]:
    """Where on a page a link can lead."""
    return {tag["id"] for tag in cached_soup(page).select("[id]")}


@pytest.mark.parametrize("name", PROSE + CHAPTERS)
class TestPage:
    def test_it_shows_no_traceback(self, html, name):
        article = soup(html / "book" / f"{name}.html").find("article")
        assert article.find("h1")
        assert "Traceback (most recent call last)" not in article.get_text()

    def test_every_table_is_drawn(self, html, name):
        said = soup(html / "book" / f"{name}.html").find("article")
        for code in said.find_all("pre"):
            code.decompose()
        assert not re.search(r"\|\s*[-—]+\s*\|", said.get_text())

    def test_every_picture_is_there_and_is_described(self, html, name):
        page = html / "book" / f"{name}.html"
        for image in soup(page).find("article").select("img"):
            source, alt = image.get("src", ""), image.get("alt", "")
            plays = image.find_parent(class_="animation")  # a script gives it its source
            assert plays or source.startswith("data:") or (page.parent / unquote(source)).is_file(), source
            assert alt and alt != source, f"{source[:80]} has no text for those who do not see it"

    def test_every_diagram_is_described(self, html, name):
        page = soup(html / "book" / f"{name}.html")
        drawn = page.select("article svg")
        assert len(drawn) == (name in DRAWN)
        for drawing in drawn:
            title, words = (page.find(id=part).get_text() for part in drawing["aria-labelledby"].split())
            assert drawing["role"] == "img" and title and len(words) > 2 * len(title)
            named = [drawing["id"], *(tag["id"] for tag in drawing.select("[id]"))]
            assert [len(page.find_all(id=one)) for one in named] == [1] * len(named)

    def test_it_asks_no_other_host(self, html, name):
        page = soup(html / "book" / f"{name}.html")
        asked = [tag.get("src") or tag["href"] for tag in page.select("[src], link[href]:not([rel=canonical])")]
        assert asked and not [url for url in asked if urlsplit(url).netloc]
        scripts = page.find_all("script", src=True)
        assert all((html / "book" / unquote(urlsplit(tag["src"]).path)).is_file() for tag in scripts)
        assert any("mathjax" in tag["src"] for tag in scripts) or not page.select("article .math")


@pytest.mark.parametrize("name", (*(f"book/{name}" for name in PROSE + CHAPTERS), "genindex", "search", "index"))
def test_every_link_of_a_page_leads_somewhere(html, name):
    page = html / f"{name}.html"
    for link in soup(page).select("a[href], link[href]"):
        parts = urlsplit(link["href"])
        if ours := OUR_FILE.search(link["href"]):
            assert (ROOT / unquote(ours[1])).is_file(), link["href"]
        if parts.scheme or parts.netloc:
            continue
        target = page.parent / unquote(parts.path) if parts.path else page
        assert target.is_file(), link["href"]
        if parts.fragment and target.suffix == ".html":
            assert unquote(parts.fragment) in places(target.resolve()), link["href"]


def test_the_index_leads_to_where_a_word_is_explained(html):
    listed = {}
    for entry in soup(html / "genindex.html").select("ul.index li"):
        word = entry.strong.get_text()
        links = [link["href"].split("#") for link in entry.select("a")]
        for page, place in links:
            target = cached_soup(html / page).find(id=place)
            section = target if target.name == "dt" else target.find_parent("section")
            text = section.get_text(" ").lower().replace("_", " ")
            assert all(part[:5].lower() in text for part in word.split()), (word, page)
        listed[word] = [Path(page).stem for page, _ in links]
    assert {word: listed.get(word, [])[:1] for word in LOOKED_UP} == {word: [page] for word, page in LOOKED_UP.items()}
    assert all(links.index("glossary") == len(links) - 1 for links in listed.values() if "glossary" in links)


@cache
def labels(html: Path) -> dict[str, str]:
    """For each work in the list of references, where it stands there, and its label."""
    works = cached_soup(html / "book" / "references.html").select(".citation")
    return {work["id"]: work.select_one(".label").get_text().strip("[]") for work in works}


def test_the_references_are_told_apart_and_stand_in_order(html):
    listed = list(labels(html).values())
    assert all(re.fullmatch(r"\D+, \d{4}[a-z]?", label) for label in listed)
    assert listed == sorted(set(listed), key=str.lower)
    whole = {"Adebayo et al., 2018", "Arthur and Vassilvitskii, 2007", "European Union, 2024", "Xie et al., 2024a", "Xie et al., 2024b"}
    assert whole <= set(listed)


@pytest.mark.parametrize("name", PROSE + CHAPTERS)
def test_a_citation_is_found_under_its_own_words(html, name):
    for citation in soup(html / "book" / f"{name}.html").select(".bibtex-citation"):
        cited, links = " ".join(citation.get_text().split()), citation.select("a")
        said = [cited.replace(" [", ", ").strip("[]")] if len(links) == 1 else [link.get_text() for link in links]
        assert said == [labels(html)[link["href"].removeprefix("references.html#")] for link in links], cited


@pytest.mark.parametrize("name", CHAPTERS)
def test_a_chapter_shows_its_figures(html, name):
    assert soup(html / "book" / f"{name}.html").select("article .cell_output img[src]")


@pytest.mark.parametrize("name", CHAPTERS)
def test_a_chapter_shows_its_players_each_with_a_text_and_a_still(html, name):
    code = (ROOT / "book" / f"{name}.ipynb").read_text(encoding="utf-8")
    players = soup(html / "book" / f"{name}.html").select(".animation")
    assert len(players) == code.count("_player(") == len({player.img["alt"] for player in players})
    for player in players:
        still = player.find_next_sibling(class_="still")
        if still.name == "details":
            shown = [image["src"] for image in still.select("img")]
            assert 2 <= len(shown) == len(set(shown)) <= 6
        else:
            cell = player.find_parent(class_="cell")
            beside = cell.find_previous_sibling() if "above" in still.get_text() else cell.find_next_sibling()
            assert "figure" in still.get_text() and beside.select(".cell_output img[src]")


def test_the_first_screen_has_its_picture(html):
    assert soup(html / "book" / "intro.html").select_one("article svg.cover")


def test_the_index_leads_to_the_introduction(html):
    assert "book/intro.html" in (html / "index.html").read_text(encoding="utf-8")


def test_every_chapter_has_its_line_in_the_status_table(html):
    table = soup(html / "book" / "status.html").find("table").get_text()
    assert all(f"book/{name}" in table for name in CHAPTERS)


@pytest.fixture
def small(tmp_path):
    """A book of one page and one chapter, with the real settings and the real builder."""
    shutil.copytree(ROOT / "tools", tmp_path / "tools", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "book" / "_static", tmp_path / "book" / "_static")
    shutil.copy(ROOT / "book" / "references.bib", tmp_path / "book")
    shutil.copy(ROOT / "_config.yml", tmp_path)
    for name in SOURCES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("1\n")
    (tmp_path / "book" / "intro.md").write_text("# Page\n\n[](chapter.ipynb)\n")
    for folder in (".pytest_cache", "book/.ipynb_checkpoints"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "README.md").write_text("# Not of the book\n")
    (tmp_path / "_toc.yml").write_text("format: jb-book\nroot: book/intro\nchapters:\n- file: book/chapter\n")
    write_chapter(tmp_path, COUNT)
    return tmp_path


def write_chapter(root: Path, *cells: str) -> None:
    v4 = nbformat.v4
    notebook = v4.new_notebook(metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}})
    notebook.cells = [v4.new_markdown_cell("# Chapter"), *map(v4.new_code_cell, cells)]
    nbformat.write(notebook, root / "book" / "chapter.ipynb")


@pytest.fixture
def builder():
    spec = importlib.util.spec_from_file_location("build_book", ROOT / "tools" / "build_book.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def executions(root: Path) -> int:
    return len((root / "book" / "count.txt").read_text())


def test_chapters_run_again_when_what_they_stand_on_changed_and_only_then(small):
    first = build(small)
    assert (first.returncode, executions(small)) == (0, 1), first.stdout
    for name in ("fer_lib/methods/baseline.py", "requirements.lock"):
        os.utime(small / name)
    assert (build(small).returncode, executions(small)) == (0, 1)
    (small / "fer_lib/methods/baseline.py").write_text("2\n")
    assert (build(small).returncode, executions(small)) == (0, 2)


def test_the_key_covers_library_records_weights_and_pins(small, builder):
    assert builder.drop_stale_outputs(small)
    assert not builder.drop_stale_outputs(small)
    for name in SOURCES:
        (small / "_build" / ".jupyter_cache").mkdir()
        (small / "_build" / ".doctrees").mkdir()
        (small / name).write_text("changed\n")
        assert builder.drop_stale_outputs(small), name
        assert [path.name for path in (small / "_build").iterdir()] == [".sources"]
    (small / "fer_lib" / "new.py").write_text("")
    assert builder.drop_stale_outputs(small)
    (small / "book" / "intro.md").write_text("# Other words\n")
    assert not builder.drop_stale_outputs(small)


def test_a_chapter_that_raises_stops_the_build_and_leaves_its_report(small):
    write_chapter(small, COUNT, "raise ValueError('on purpose')")
    for attempt in (1, 2):
        result = build(small)
        assert result.returncode != 0, "a failed chapter passed"
        assert executions(small) == attempt
        report = small / "_build" / "html" / "reports" / "book" / "chapter.err.log"
        assert "on purpose" in report.read_text(encoding="utf-8")
    write_chapter(small, COUNT)
    assert build(small).returncode == 0
    assert not report.exists()


def test_warnings_stop_the_build_every_time_and_are_all_said(small):
    faults = {
        "nowhere.md": "[](nowhere.md)",
        "nobody1900": "{cite:t}`nobody1900`",
        "missing.png": "```{image} missing.png\n:alt: none\n```",
    }
    (small / "book" / "intro.md").write_text("# Page\n\n" + "\n\n".join(faults.values()) + "\n")
    for _ in range(2):
        result = build(small)
        assert result.returncode != 0
        assert all(name in result.stdout for name in faults), result.stdout


def test_a_missing_page_stops_the_build(small):
    (small / "book" / "intro.md").write_text("# Page\n")
    assert build(small).returncode == 0
    (small / "book" / "chapter.ipynb").unlink()
    assert build(small).returncode != 0


def test_a_page_without_its_rendered_file_is_named(small, builder):
    rendered = small / "_build" / "html" / "book"
    rendered.mkdir(parents=True)
    (rendered / "intro.html").touch()
    assert builder.missing_pages(small) == ["book/chapter"]


def test_a_heavy_page_stops_the_build(small, builder):
    (small / "book" / "heavy.png").write_bytes(bytes(2_999_000))
    (small / "book" / "intro.md").write_text("# Page\n\n```{image} heavy.png\n:alt: none\n```\n")
    result = build(small)
    assert result.returncode != 0 and "intro (3.0 MB)" in result.stdout
    (small / "_build" / "html" / "_images" / "heavy.png").write_bytes(bytes(2_000_000))
    assert builder.heavy_pages(small) == []
