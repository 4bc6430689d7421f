"""AffectNet: 440,000 faces from the web, labelled by one person each (Mollahosseini et al., 2017)."""

import io
import os
from functools import partial

import numpy as np

from fer_lib.data.archive import Archive
from fer_lib.data.faceset import FaceSet
from fer_lib.data.layout import Layout
from fer_lib.data.listing import Listing
from fer_lib.data.pixels import COLOUR, read_pixels
from fer_lib.data.reading import check_tree, load_tree
from fer_lib.data.report import Faults, Report, fault
from fer_lib.data.square import square
from fer_lib.data.tree import Row, Tree, tops
from fer_lib.emotions import AFFECTNET_LABELS, Emotion
from fer_lib.errors import FerError

SIZE = 224
FOLDERS = {"train+val": "train_set", "test": "val_set"}
LISTS = {"train+val": "training.csv", "test": "validation.csv"}
IMAGES = "Manually_Annotated_Images"
ALIGNMENT = "face box or as delivered"
COLUMNS = ("subDirectory_filePath", "face_x", "face_y", "face_width", "face_height", "facial_landmarks", "expression")


def load(path: str | os.PathLike, split: str, classes: int = 8) -> FaceSet:
    """One split of AffectNet, in the old or the new release, which is recognized by itself.

    The old release is ``Manually_Annotated_Images/<folder>/<name>.jpg`` with ``training.csv`` and
    ``validation.csv``, wherever the two lie; the first line may be a header or, as in some
    deliveries of ``validation.csv``, a row. Its pictures have many sizes: each face is cut out by its
    box (``face_x`` ...; see :func:`fer_lib.data.square.square`) and resized. The new release is
    ``train_set/images/<number>.jpg``, already 224x224, with ``train_set/annotations/<number>_exp.npy``,
    and ``val_set`` likewise. ``path`` may lie deeper, or be a zip.

    The labels of the publisher's test part are not public. As in the papers, its validation part is
    ``test`` here, and ``val`` is one face in ten of each class, held out of the training part
    (:func:`fer_lib.data.holdout.held_out`). Rows labelled none, uncertain or no face are left out, and
    with ``classes=7`` contempt too. Eight and seven classes share one entry of the cache. A picture of
    several people may be listed once for each, if their boxes differ.

    The training part is imbalanced: almost half of it is happiness, about one face in eighty is
    contempt or disgust. Train with ``--set sampler=balanced``, and say so beside a number. The
    validation part has about 500 faces of each class.

    Args:
        path: the folder or zip.
        split: ``train``, ``val`` or ``test``.
        classes: 8, or 7 without contempt (``affectnet8``, ``affectnet7``).

    Returns:
        RGB 224x224 faces, memory-mapped from the cache, which takes 150 kB a face.

    Raises:
        FerError: at the first fault that :func:`check` would list, also a class without faces.

    Explained in: book/data.md
    """
    return load_tree(_kind(classes), path, split)


def check(path: str | os.PathLike, classes: int = 8) -> Report:
    """Look at every list, annotation and picture, and say what is there and what is wrong.

    Raises:
        FerError: if there is no AffectNet at ``path``.

    Explained in: book/data.md
    """
    return check_tree(_kind(classes), path)


class _Eight(Tree):
    name, title, store = "affectnet8", "AffectNet", "affectnet"
    expected = (
        f"{IMAGES} with {' and '.join(LISTS.values())} (old release), or train_set and val_set "
        "with images and annotations (new release)"
    )
    shape = (3, SIZE, SIZE)
    classes = 8

    def __init__(self, archive: Archive):
        super().__init__(archive)
        new, old = tops(archive, *(f"{folder}/images" for folder in FOLDERS.values())), tops(archive, IMAGES)
        if new and old:
            raise FerError(f"{archive.path} holds the old and the new release of AffectNet: give one of them alone.")
        if not new and not old:
            raise self.unlike()
        self.folder, self.new = self.sole(new or old), bool(new)

    def members(self, source: str) -> list[str]:
        if self.new:
            return self.archive.below(self.folder + FOLDERS[source])
        lists = [name for name in self.archive.members if name.rpartition("/")[2] == LISTS[source]]
        if not lists:
            return []
        # What is trained on depends on the other list too: it must not name the same pictures.
        other = [name for name in self.archive.members if name.rpartition("/")[2] == LISTS["test"]]
        return [self.sole(lists), *self.archive.below(self.folder + IMAGES), *(other if source != "test" else [])]

    def rows(self, source: str, faults: Faults = None) -> Listing[Row]:
        listing, seen, tested = Listing(removed={"no emotion": 0}), set(), self._tested(source)
        for name, label, box, where in (self._annotated if self.new else self._listed)(source, faults):
            corners = _numbers(box or [])
            face = name, corners or tuple(box or ())
            if face in seen:
                fault(faults, f"{where}: the same face of {name} is listed a second time; keep one of the two.")
            elif not (label.isascii() and label.isdigit() and len(label) < 3 and int(label) in AFFECTNET_LABELS):
                known = f"0 to {max(AFFECTNET_LABELS)}"
                fault(faults, f"{where}: expression {label[:20]!r} is none of {known}; fetch the dataset again.")
            elif (emotion := AFFECTNET_LABELS[int(label)]) is None:
                listing.removed["no emotion"] += 1
            elif name in tested:
                what = f"{where}: {name} is in {LISTS['test']} too, so that training would see a face of the test"
                fault(faults, f"{what}; keep one of the two rows.")
            elif corners is None:
                fault(faults, f"{where}: {', '.join(box)} is no face box; fetch the list again.")
            else:
                listing.rows.append(Row(name, emotion, box=corners))
            seen.add(face)
        if self.new:
            # In the old release the pictures of all parts lie together.
            listing.notes = self.unlisted(source, listing.rows)
        return listing

    def read(self, data: bytes, row: Row) -> np.ndarray:
        return square(read_pixels(data, 3, (SIZE, SIZE) if self.new else (), COLOUR), SIZE, row.box)

    def parts(self, source: str, rows: list[Row]) -> np.ndarray:
        # Contempt at the ends, so that both the eight and the seven classes of a split are one run.
        contempt = np.array([row.label == Emotion.CONTEMPT for row in rows], np.int64)
        parts = super().parts(source, rows)
        return contempt if source == "test" else np.where(parts, 2 + contempt, 1 - contempt)

    def span(self, split: str, fold: int = 0) -> tuple[int, int]:
        return {"train": (2, 3), "val": (0, 1), "test": (0, 1)}[split]

    def _tested(self, source: str) -> set[str]:
        """The pictures that must not be trained on, where the parts share one folder."""
        if self.new or source == "test" or not self.members("test"):
            return set()
        return {row.name for row in self.rows("test", []).rows}

    def _annotated(self, source: str, faults: Faults):
        """Of each annotation in the new release: picture, label, no box, how a sentence begins."""
        folder, end = f"{self.folder}{FOLDERS[source]}/", "_exp.npy"
        names = [name for name in self.archive.below(f"{folder}annotations") if name.endswith(end)]
        if not names:
            raise FerError(f"{self.archive.path} has no {folder}annotations/ (0{end} and the like): complete the dataset.")
        for name in names:
            picture = f"{folder}images/{name.rpartition('/')[2].removesuffix(end)}.jpg"
            where = f"{name} in {self.archive.path}"
            try:
                label = _expression(self.archive.read(name, 1 << 16))
            except FerError as error:
                fault(faults, str(error))
            except ValueError as error:
                fault(faults, f"{where} holds no expression ({error}): fetch it again.")
            else:
                yield picture, label, None, where

    def _listed(self, source: str, faults: Faults):
        """Of each row in the old release: picture, label, box, how a sentence begins."""
        columns, list_ = range(len(COLUMNS)), self.members(source)[0]
        for line, cells in enumerate(self.archive.table(list_), 1):
            cells, where = [cell.strip() for cell in cells], self.archive.where(list_, line)
            if line == 1 and {COLUMNS[0], COLUMNS[-1]} & set(cells):
                if lacking := [column for column in COLUMNS if column not in cells]:
                    raise FerError(f"{where}: no column {lacking[0]!r}; fetch the list again.")
                columns = [cells.index(column) for column in COLUMNS]
            elif any(cells) and len(cells) <= max(columns):
                fault(faults, f"{where}: {len(cells)} columns, expected {max(columns) + 1} or more; fetch the list again.")
            elif any(cells):
                name, *box, _, label = (cells[i].replace("\\", "/") for i in columns)
                yield f"{self.folder}{IMAGES}/{name}", label, box, where


class _Seven(_Eight):
    name, classes = "affectnet7", 7

    def span(self, split: str, fold: int = 0) -> tuple[int, int]:
        return {"train": (2, 2), "val": (1, 1), "test": (0, 0)}[split]


_KINDS = {7: _Seven, 8: _Eight}


def _kind(classes: int) -> type[Tree]:
    if classes not in _KINDS:
        raise FerError(f"AffectNet has 7 or 8 classes, not {classes}: take one of them.")
    return _KINDS[classes]


def _expression(data: bytes) -> str:
    try:
        number = float(np.load(io.BytesIO(data), allow_pickle=False).item())
        if not number.is_integer():
            raise ValueError(f"{number} is no whole number")
        return str(int(number))
    # A damaged array makes numpy raise almost anything.
    except Exception as error:
        raise ValueError(f"{type(error).__name__}: {error}".splitlines()[0]) from error


def _numbers(cells: list[str]) -> tuple[float, ...] | None:
    try:
        return tuple(map(float, cells))
    except ValueError:
        return None


LAYOUTS = tuple(
    Layout(
        f"affectnet{classes}",
        partial(load, classes=classes),
        partial(check, classes=classes),
        __name__,
        alignment=ALIGNMENT,
    )
    for classes in _KINDS
)
