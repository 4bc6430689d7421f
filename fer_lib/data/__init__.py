"""Faces from disk: one module per dataset, each with its ``LAYOUTS``."""

import os
import stat
from difflib import get_close_matches

from fer_lib.data import affectnet, ckplus, facial_expressions, ferplus, jaffe, london, mmi, oulu_casia, rafdb, sfew
from fer_lib.data.faceset import FaceSet
from fer_lib.data.layout import Layout
from fer_lib.data.report import Report
from fer_lib.errors import FerError

MODULES = (affectnet, ckplus, facial_expressions, ferplus, jaffe, london, mmi, oulu_casia, rafdb, sfew)
DATASETS: dict[str, Layout] = {layout.name: layout for module in MODULES for layout in module.LAYOUTS}


def load_dataset(name: str, path: str | os.PathLike, split: str, fold: int = 0) -> FaceSet:
    """The faces of ``split`` of the dataset ``name`` at ``path``, a folder or zip.

    Args:
        fold: which people are tested, where the dataset has folds instead of an official split.

    Raises:
        FerError: if the name or the fold is unknown, or as that dataset's ``load``.

    Explained in: book/faces.ipynb
    """
    layout = _layout(name)
    _readable(path)
    if not 0 <= fold < layout.folds:
        known = f"folds 0 to {layout.folds - 1}" if layout.folds > 1 else "an official split and no folds: take 0"
        raise FerError(f"There is no fold {fold} of {name}: it has {known}.")
    return layout.load(path, split, fold) if layout.folds > 1 else layout.load(path, split)


def check_dataset(name: str, path: str | os.PathLike) -> Report:
    """What is there, missing, corrupt or unlabelled at ``path``, if it is the dataset ``name``.

    Raises:
        FerError: if the name is unknown, or as that dataset's ``check``.

    Explained in: book/faces.ipynb
    """
    layout = _layout(name)
    _readable(path)
    return layout.check(path)


def _readable(path: str | os.PathLike) -> None:
    """Stop where the system refuses the path, or a folder right below it: to a search it would seem empty."""
    try:
        kind = os.stat(path).st_mode
        if stat.S_ISDIR(kind):
            for folder in [entry for entry in os.scandir(path) if entry.is_dir()]:
                os.scandir(folder).close()
        elif stat.S_ISREG(kind):
            open(path, "rb").close()
    except FileNotFoundError:
        return
    except OSError as error:
        what = f"{error.filename} cannot be read ({error.strerror})"
        raise FerError(f"{what}: ask its owner for the right to read it, or give another copy.") from error


def _layout(name: str) -> Layout:
    if name not in DATASETS:
        near = [known for known in DATASETS if name and known.startswith(name)] or get_close_matches(name, DATASETS, 1)
        what = f"did you mean {' or '.join(near)}?" if near else f"choose faces, or on disk {', '.join(sorted(DATASETS))}."
        raise FerError(f"There is no dataset '{name}': {what}")
    return DATASETS[name]
