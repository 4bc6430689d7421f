"""From every public object to the page that explains it, and from that page back."""

import ast
import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
POINTER = re.compile(r"Explained in: (book/[\w-]+\.(?:ipynb|md))")
# A workroom is a package that only its door imports: the door's objects are explained, its tools are not.
WORKROOMS = {"fer_lib/data/portrait": "fer_lib/data/faces.py"}
CODE = re.compile(r"(?P<ticks>`+)(.+?)(?P=ticks)", re.DOTALL)


def modules() -> list[Path]:
    return sorted((ROOT / "fer_lib").rglob("*.py"))


def public_objects() -> list[tuple[str, str, str]]:
    """(module path, name, docstring) of every public class and function defined in fer_lib."""
    found = []
    for path in modules():
        if any(path.is_relative_to(ROOT / room) for room in WORKROOMS):
            continue
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith("_"):
                found.append((path.relative_to(ROOT).as_posix(), node.name, ast.get_docstring(node) or ""))
    return found


def pointed_page(docstring: str) -> str | None:
    """The page named in the last line of the docstring."""
    match = POINTER.fullmatch(docstring.rstrip().rpartition("\n")[2].strip())
    return match and match[1]


def code_of(page: Path) -> str:
    """What the page shows as code: code cells, fenced blocks, and words between backticks."""
    if page.suffix == ".md":
        return " ".join(match[2] for match in CODE.finditer(page.read_text(encoding="utf-8")))
    parts = []
    for cell in json.loads(page.read_text(encoding="utf-8"))["cells"]:
        source = "".join(cell["source"])
        parts.append(source if cell["cell_type"] == "code" else " ".join(m[2] for m in CODE.finditer(source)))
    return " ".join(parts)


def mentions(code: str, name: str) -> bool:
    return re.search(rf"\b{re.escape(name)}\b", code) is not None


OBJECTS = public_objects()


def test_there_are_objects():
    assert {"Emotion", "FerError", "FaceSet"} <= {name for _, name, _ in OBJECTS}


@pytest.mark.parametrize(("path", "name", "docstring"), OBJECTS, ids=[f"{path}:{name}" for path, name, _ in OBJECTS])
def test_pointer(path, name, docstring):
    page = pointed_page(docstring)
    assert page, f"{path}: the docstring of {name} does not end with `Explained in: book/<page>`"
    assert (ROOT / page).is_file(), f"{path}: {name} points to {page}, which does not exist"
    assert mentions(code_of(ROOT / page), name), f"{page} never shows {name} as code, though {path} points to it"


def test_the_messages_that_troubleshooting_explains_are_really_said():
    page = (ROOT / "book" / "troubleshooting.md").read_text(encoding="utf-8")
    speakers = [*modules(), *(ROOT / "tools").glob("*.py"), ROOT / "Makefile"]
    said = "".join(path.read_text(encoding="utf-8") for path in speakers)
    headings = re.findall(r"^### `(.+)`$", page, re.MULTILINE)
    assert len(headings) > 8
    for heading in headings:
        for part in heading.split("..."):
            assert part.strip() in said, heading


@pytest.mark.parametrize(("room", "door"), WORKROOMS.items())
def test_a_workroom_is_entered_by_its_door_only(room, door):
    name = room.replace("/", ".")
    for path in modules():
        if path.is_relative_to(ROOT / room) or path == ROOT / door:
            continue
        enters = re.search(rf"^\s*(from|import) {re.escape(name)}\b", path.read_text(encoding="utf-8"), re.MULTILINE)
        assert not enters, f"{path.relative_to(ROOT)} imports from {room}; its door is {door}"


def test_a_word_in_prose_is_no_mention(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("We run it by `python -m fer_lib run`, and then we score.\n\n```python\nfit(method)\n```\n")
    code = code_of(page)
    assert mentions(code, "run") and mentions(code, "fit")
    assert not mentions(code, "score") and not mentions(code, "met")


def test_the_pointer_is_the_last_line():
    assert pointed_page("One.\n\n    Explained in: book/faces.ipynb\n    ") == "book/faces.ipynb"
    assert pointed_page("Explained in: book/faces.ipynb\n\nMore.") is None
    assert pointed_page("Explained in: faces.ipynb") is None
