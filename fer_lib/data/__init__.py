"""Faces from disk: one module per dataset, each with ``load(path, split)`` and ``check(path)``."""

import os
from types import ModuleType

from fer_lib.data import ferplus
from fer_lib.data.faceset import FaceSet
from fer_lib.data.report import Report
from fer_lib.errors import FerError

DATASETS: dict[str, ModuleType] = {ferplus.NAME: ferplus}


def load_dataset(name: str, path: str | os.PathLike, split: str) -> FaceSet:
    """The faces of ``split`` of the dataset ``name`` at ``path``, a folder or zip.

    Raises:
        FerError: if the name is unknown, or as that dataset's ``load``.

    Explained in: book/faces.ipynb
    """
    return _dataset(name).load(path, split)


def check_dataset(name: str, path: str | os.PathLike) -> Report:
    """What is there, missing, corrupt or unlabelled at ``path``, if it is the dataset ``name``.

    Raises:
        FerError: if the name is unknown, or as that dataset's ``check``.

    Explained in: book/faces.ipynb
    """
    return _dataset(name).check(path)


def _dataset(name: str) -> ModuleType:
    if name not in DATASETS:
        raise FerError(f"There is no dataset '{name}': choose faces, or on disk {', '.join(sorted(DATASETS))}.")
    return DATASETS[name]
