"""What a loader of pictures and a loader of neutral twins have in common, before any picture is opened."""

from abc import ABC
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from fer_lib.data.archive import Archive
from fer_lib.errors import FerError

Row = TypeVar("Row")


@dataclass
class Listing(Generic[Row]):
    """The faces of a dataset, or of one of its lists.

    Attributes:
        rows: the faces that remain.
        removed: rule -> rows that it left out.
        notes: sentences about what is odd and leaves the set usable.

    Explained in: book/data.md
    """

    rows: list[Row] = field(default_factory=list)
    removed: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


class Opened(ABC):
    """A dataset in an open folder or zip, and its sentences where that holds another one.

    Attributes:
        name: as ``--dataset`` spells it, and ``title`` as a sentence does.
        expected: the tree, as a sentence names it.
        version: to be raised when the decoded pictures or their order change.

    Explained in: book/data.md
    """

    name = title = expected = ""
    version = 1

    def __init__(self, archive: Archive):
        self.archive = archive

    def unlike(self) -> FerError:
        """The error where the archive holds something else."""
        return FerError(f"{self.archive.path} holds no {self.title}: expected {self.expected}.")

    def sole(self, places: set[str] | list[str]) -> str:
        """The one folder that holds the dataset. Raises FerError if there is none, or more."""
        if not places:
            raise self.unlike()
        if len(places) > 1:
            named = ", ".join(place or "the top" for place in sorted(places))
            raise FerError(f"{self.archive.path} holds {self.title} more than once ({named}): give one of them alone.")
        return min(places)
