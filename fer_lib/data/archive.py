"""A dataset's files, in a folder or a zip, read alike and without unpacking."""

import csv
import hashlib
import io
import math
import os
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from lzma import LZMAError
from pathlib import Path

import numpy as np
from tqdm import tqdm

from fer_lib.data.report import Faults, fault
from fer_lib.errors import FerError

MEMBERS = 2_000_000
IMAGE_BYTES = 64 << 20
CHUNK_BYTES = 4 << 20

# Whatever a damaged zip makes Python's zipfile raise.
_DAMAGE = (
    zipfile.BadZipFile, zipfile.LargeZipFile, zlib.error, LZMAError, struct.error,
    EOFError, OSError, ArithmeticError, LookupError, RuntimeError, ValueError,
)  # fmt: skip


class Archive:
    """The files below one folder or inside one zip, by relative name with ``/``.

    Nothing is unpacked; closing it (or leaving its ``with``) closes the zip.
    Reading is safe from several threads.

    Args:
        path: the folder or zip file.

    Attributes:
        path: as given.
        members: name -> (size in bytes, CRC-32 in a zip or modification time in ns in a folder).

    Raises:
        FerError: if the path does not exist, is neither folder nor zip, or if the zip is
            truncated, encrypted, or has a member that would lie outside its folder.

    Explained in: book/faces.ipynb
    """

    def __init__(self, path: str | os.PathLike):
        self.path = Path(path)
        self._zip, self._infos = None, {}
        if self.path.is_dir():
            self.members = dict(_walk(self.path))
        elif self.path.is_file():
            self._zip, self._infos = _open_zip(self.path)
            self.members = {name: (info.file_size, info.CRC) for name, info in self._infos.items()}
        else:
            raise FerError(f"{self.path} does not exist: give the folder or zip file of the dataset.")

    def __enter__(self) -> "Archive":
        return self

    def __exit__(self, *error) -> None:
        if self._zip:
            self._zip.close()

    def __contains__(self, name: str) -> bool:
        return name in self.members

    def where(self, name: str, line: int) -> str:
        """How a sentence about a line of a list begins."""
        return f"{name} in {self.path}, line {line}"

    def below(self, folder: str) -> list[str]:
        """The names of the members below ``folder`` (``""`` is all), sorted."""
        prefix = f"{folder.rstrip('/')}/" if folder else ""
        return sorted(name for name in self.members if name.startswith(prefix))

    def stamp(self, names: Iterable[str]) -> str:
        """Digest of the members' names, sizes and CRCs (folder: times), without reading them."""
        known = sorted((name, *self.members[name]) for name in names)
        return hashlib.sha256(repr(known).encode()).hexdigest()

    @contextmanager
    def open(self, name: str) -> Iterator[io.BufferedIOBase]:
        """The member as a binary stream.

        Raises:
            FerError: if it is not there or damaged, also while it is being read.
        """
        if name not in self.members:
            raise FerError(f"{self.path} has no {name}: complete the dataset.")
        try:
            with self._zip.open(self._infos[name]) if self._zip else open(self.path / name, "rb") as stream:
                yield stream
        except _DAMAGE as error:
            what = f"{name} in {self.path} cannot be read ({error})"
            raise FerError(f"{what}: fetch the dataset again.") from error

    def read(self, name: str, limit: int = IMAGE_BYTES) -> bytes:
        """The member's bytes, at most ``limit`` of them.

        Raises:
            FerError: if it is not there, damaged, or larger.
        """
        if self.members.get(name, (0,))[0] > limit:
            raise FerError(f"{name} in {self.path} exceeds {limit >> 20} MiB: fetch the dataset again.")
        with self.open(name) as stream:
            return stream.read()

    def table(self, name: str) -> Iterator[list[str]]:
        """The lines of a CSV file (UTF-8), each as its cells; read as they are asked for.

        Raises:
            FerError: if it is not there, damaged, or no CSV file.
        """
        with self.open(name) as stream, io.TextIOWrapper(stream, "utf-8-sig", newline="") as text:
            try:
                yield from csv.reader(text)
            except csv.Error as error:
                raise FerError(f"{name} in {self.path} is no CSV list ({error}): fetch it again.") from error


def decode(
    archive: Archive,
    names: list[str],
    shape: tuple[int, int, int],
    read: Callable[[bytes, int], np.ndarray],
    faults: Faults = None,
    title: str = "decoding",
) -> Iterator[np.ndarray]:
    """Decode images in order, in chunks of at most 4 MiB (or one image), on all cores.

    A progress bar shows where stderr is a terminal.

    Args:
        archive: where they lie.
        names: their member names.
        shape: of one image, (C, H, W).
        read: what makes of a file's bytes and the image's place in ``names`` an image of that
            shape, mostly with :func:`fer_lib.data.pixels.read_pixels`; its errors are reported.
        faults: a list to note faults in (the image is then black); None raises the first.
        title: what the progress bar says.

    Yields:
        uint8 (n, C, H, W), values 0-255.

    Raises:
        FerError: naming the first image that is missing, damaged, or refused by ``read``.

    Explained in: book/faces.ipynb
    """
    # Below 64 px threads only fight for the interpreter lock: one is 1.7 times as fast as two.
    workers = 1 if shape[-1] < 64 else os.cpu_count() or 1
    step = max(1, CHUNK_BYTES // math.prod(shape))
    progress = tqdm(total=len(names), desc=title, unit="img", disable=None)
    with ThreadPoolExecutor(workers) as pool, progress:
        for start in range(0, len(names), step):
            chunk = range(start, min(start + step, len(names)))
            out = np.zeros((len(chunk), *shape), np.uint8)
            jobs = [pool.submit(_decode_some, archive, names, chunk[w::workers], read, start, out) for w in range(workers)]
            for _, message in sorted(pair for job in jobs for pair in job.result()):
                fault(faults, message)
            progress.update(len(chunk))
            yield out


def _decode_some(archive: Archive, names: list[str], rows: range, read: Callable, start: int, out: np.ndarray):
    """Decode some rows into ``out``, which begins at row ``start``; return (row, sentence) of each fault."""
    messages = []
    for row in rows:
        try:
            out[row - start] = read(archive.read(names[row]), row)
        except FerError as error:
            messages.append((row, str(error)))
        # A damaged image makes PIL raise almost anything.
        except Exception as error:
            what = f"{names[row]} in {archive.path} is no image of this dataset ({error})"
            messages.append((row, f"{what}: fetch it again or take it out of the list."))
    return messages


def _walk(folder: Path) -> Iterator[tuple[str, tuple[int, int]]]:
    seen, count = set(), 0
    for parent, below, files in os.walk(folder, followlinks=True):
        # A link to a folder above would never end.
        below[:] = sorted(name for name in below if not name.startswith(("__MACOSX", ".")))
        if (real := os.path.realpath(parent)) in seen:
            below.clear()
            continue
        seen.add(real)
        count += len(files)
        if count > MEMBERS:
            raise FerError(f"{folder} holds more than {MEMBERS:,} files: give the dataset's own folder.")
        for name in files:
            full = os.path.join(parent, name)
            if not name.startswith(".") and os.path.isfile(full):
                status = os.stat(full)
                relative = os.path.relpath(full, folder).replace(os.sep, "/")
                yield relative, (status.st_size, status.st_mtime_ns)


def _open_zip(path: Path) -> tuple[zipfile.ZipFile, dict[str, zipfile.ZipInfo]]:
    try:
        archive = zipfile.ZipFile(path)
    except _DAMAGE as error:
        raise FerError(f"{path} is not a whole zip file ({error}): fetch it again.") from error
    try:
        return archive, dict(_checked(archive, path))
    except FerError:
        archive.close()
        raise


def _checked(archive: zipfile.ZipFile, path: Path) -> Iterator[tuple[str, zipfile.ZipInfo]]:
    if len(archive.infolist()) > MEMBERS:
        raise FerError(f"{path} holds more than {MEMBERS:,} files: give the dataset's own zip.")
    for info in archive.infolist():
        name = info.filename.replace("\\", "/")
        if name.startswith("/") or name[1:2] == ":" or ".." in name.split("/"):
            what = f"{path} has a member {info.filename} outside its folder"
            raise FerError(f"{what}: do not trust it, fetch it from its source.")
        if info.flag_bits & 1:
            raise FerError(f"{path} is encrypted: unpack it with its password and give the folder.")
        hidden = name.startswith("__MACOSX/") or name.rpartition("/")[2].startswith(".")
        if not info.is_dir() and not hidden:
            yield name, info
