"""What ``data check`` says about a dataset on disk."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from fer_lib.errors import FerError

SHOWN = 20

# Where sentences about faults are collected; None: the first is raised.
Faults = list[str] | None


def fault(faults: Faults, message: str) -> None:
    """Note ``message`` in ``faults``, or raise it where nobody collects.

    A loader that walks through its files with this one function stops at the
    first fault when it loads (``faults`` is None) and lists all of them when it checks.

    Raises:
        FerError: with ``message``, if ``faults`` is None.

    Explained in: book/faces.ipynb
    """
    if faults is None:
        raise FerError(message)
    faults.append(message)


def fault_if_empty(counts: dict[str, int], where: str, faults: Faults = None) -> None:
    """A fault if a class has no face: nothing could be learnt about it, and no recall measured.

    Args:
        counts: class -> faces after cleaning.
        where: dataset and split, as the sentence begins.
        faults: as for :func:`fault`.

    Raises:
        FerError: naming the empty classes, if ``faults`` is None.

    Explained in: book/faces.ipynb
    """
    if empty := [name for name, faces in counts.items() if not faces]:
        what = f"{where} has no face of {', '.join(empty)} after cleaning"
        fault(faults, f"{what}: complete the dataset, since every class needs faces.")


@dataclass(frozen=True)
class Report:
    """A dataset as found on disk: how many faces, which were left out, what is wrong.

    A split that is not there is absent from ``rows``, ``removed`` and ``counts``.

    Attributes:
        name: the layout, as ``--dataset`` spells it.
        path: the folder or zip, as given.
        rows: split -> rows in its list, before cleaning.
        removed: split -> rule -> rows that the rule removes.
        counts: split -> class -> faces after cleaning.
        faults: one sentence each: what is missing, corrupt, unlabelled.
        usable: whether every split that is there can be loaded, and there is one.

    Explained in: book/faces.ipynb
    """

    name: str
    path: str
    rows: dict[str, int] = field(default_factory=dict)
    removed: dict[str, dict[str, int]] = field(default_factory=dict)
    counts: dict[str, dict[str, int]] = field(default_factory=dict)
    faults: tuple[str, ...] = ()
    usable: bool = False

    def save(self, file: Path) -> None:
        """Write the report as JSON, for a page that shows the counts without the data."""
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(asdict(replace(self, path=Path(self.path).name)), indent=1) + "\n")

    @classmethod
    def read(cls, file: Path) -> "Report":
        """A report that :meth:`save` wrote."""
        return cls(**json.loads(file.read_text()))

    def __str__(self) -> str:
        lines = [f"{self.name}: {self.path}", *self._table()]
        lines.append(f"Faults: {len(self.faults) or 'none'}")
        lines += [f"  {sentence}" for sentence in self.faults[:SHOWN]]
        if len(self.faults) > SHOWN:
            lines.append(f"  and {len(self.faults) - SHOWN:,} more")
        lines.append(f"Usable: {'yes' if self.usable else 'no'}")
        return "\n".join(lines)

    def _table(self) -> Iterator[str]:
        if not self.rows:
            return
        kept = {split: sum(counts.values()) for split, counts in self.counts.items()}
        body = [("rows in the list", self.rows)]
        body += [(f"  {rule}", numbers) for rule, numbers in _turned(self.removed)]
        body += [("faces kept", kept)]
        body += [(f"  {name}", numbers) for name, numbers in _turned(self.counts)]
        width = max(len(title) for title, _ in body)
        yield " " * width + "".join(f"{split:>9}" for split in self.rows)
        for title, numbers in body:
            yield f"{title:<{width}}" + "".join(f"{numbers.get(split, 0):>9,}" for split in self.rows)


def _turned(table: dict[str, dict[str, int]]) -> Iterator[tuple[str, dict[str, int]]]:
    """The rows of a table that is kept by column."""
    names = dict.fromkeys(name for column in table.values() for name in column)
    for name in names:
        yield name, {split: column.get(name, 0) for split, column in table.items()}
