"""Write the table of all label maps into book/data.md: `python tools/label_table.py`.

The table is made from ``fer_lib/emotions.py``, between the two marks below; a test fails
while page and code differ.
"""

import sys
from enum import IntEnum
from pathlib import Path

from fer_lib import emotions

PAGE = Path(__file__).resolve().parent.parent / "book" / "data.md"
BEGIN, END = "<!-- label table: tools/label_table.py writes it -->", "<!-- end of the label table -->"

# map in fer_lib.emotions: dataset, and what its labels are
TITLES = {
    "FERPLUS_COLUMNS": ("FERPlus", "vote column"),
    "RAFDB_LABELS": ("RAF-DB", "number"),
    "AFFECTNET_LABELS": ("AffectNet", "number"),
    "CKPLUS_LABELS": ("CK+", "number"),
    "MMI_LABELS": ("MMI", "number"),
    "SFEW_FOLDERS": ("SFEW", "folder"),
    "JAFFE_CODES": ("JAFFE", "letters"),
    "OULU_FOLDERS": ("Oulu-CASIA", "folder"),
    "FACIAL_EXPRESSIONS_WORDS": ("facial_expressions", "word"),
    "LONDON_FOLDERS": ("London", "folder"),
}


def maps() -> dict[str, dict]:
    """Every label map of the library, by its name there."""
    found = {name: value for name, value in vars(emotions).items() if name.isupper() and isinstance(value, dict)}
    return {name: value for name, value in found.items() if any(isinstance(label, IntEnum) for label in value.values())}


def table() -> str:
    """The table in Markdown: one dataset a line, the emotions in the book's order."""
    order = [f"{emotion.value} {emotion.title}" for emotion in emotions.Emotion]
    lines = [f"| {' | '.join(['dataset', 'its labels', *order, 'left out'])} |", "|---" * (len(order) + 3) + "|"]
    for name, labels in maps().items():
        keys = [[f"`{key}`" for key, label in labels.items() if label == wanted] for wanted in (*emotions.Emotion, None)]
        cells = [", ".join(several) for several in keys]
        lines.append(f"| {' | '.join([*TITLES[name], *cells])} |".replace("|  |", "| |").replace("|  |", "| |"))
    return "\n".join(lines)


def written(page: str) -> str:
    """The page with the table as it must be."""
    before, rest = page.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n\n{table()}\n\n{END}{after}"


def main() -> int:
    page = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(written(page), encoding="utf-8")
    print(f"{PAGE.name}: {'as it was' if written(page) == page else 'written anew'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
