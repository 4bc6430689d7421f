"""Decoded images, kept once on disk and memory-mapped ever after.

An entry is a folder ``<key>/`` with ``images.npy``, one ``.npy`` for every other
array, and ``meta.json``. It is written under another name and renamed when whole.
"""

import hashlib
import json
import mmap
import os
import shutil
import sys
import tempfile
import time
import uuid
import zlib
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from platform import node

import numpy as np

from fer_lib.errors import FerError

FORMAT = 1
NO_RESERVE = 0x4000  # MAP_NORESERVE of Linux, which Python's mmap does not know yet
ABANDONED_AFTER = 7 * 24 * 3600
_PARTIAL = ".partial"


@dataclass(frozen=True)
class Content:
    """One split, ready to be kept.

    Attributes:
        shape: of all images together, (N, C, H, W).
        images: uint8 arrays (n, C, H, W) whose rows add up to N; consumed once.
        arrays: what else has a row per face, by name (``labels``, ``votes`` ...).

    Explained in: book/faces.ipynb
    """

    shape: tuple[int, int, int, int]
    images: Iterable[np.ndarray]
    arrays: dict[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True)
class Entry:
    """One split, as kept.

    Attributes:
        images: uint8 (N, C, H, W), memory-mapped; writing to it never reaches the disk.
        arrays: as in :class:`Content`.
        fingerprint: 16 hexadecimal digits of the SHA-256 over pixels and arrays: whatever
            folder or zip the faces came from, equal content has an equal fingerprint.

    Explained in: book/faces.ipynb
    """

    images: np.ndarray
    arrays: dict[str, np.ndarray]
    fingerprint: str


def root() -> Path:
    """The folder that holds all entries.

    It is the environment variable ``FER_LIB_CACHE``, else ``fer_lib`` in
    ``XDG_CACHE_HOME``, else ``~/.cache/fer_lib``; where nobody has a home, ``fer_lib``
    in the system's folder for temporary files. The folder need not exist yet.

    Explained in: book/faces.ipynb
    """
    if own := os.environ.get("FER_LIB_CACHE"):
        return Path(own)
    if (shared := os.environ.get("XDG_CACHE_HOME", "")) and os.path.isabs(shared):
        return Path(shared) / "fer_lib"
    home = os.path.expanduser("~")
    if not os.path.isabs(home) or home == os.sep:
        return Path(tempfile.gettempdir()) / "fer_lib"
    return Path(home) / ".cache" / "fer_lib"


def key(*parts: object) -> str:
    """An entry's name: digest of what decides its content (layout, version, split, source's stamp).

    Explained in: book/faces.ipynb
    """
    return hashlib.sha256(repr((FORMAT, *parts)).encode()).hexdigest()[:32]


def fetch(name: str, prepare: Callable[[], Content]) -> Entry:
    """The entry called ``name``; made from ``prepare() -> Content`` where there is none.

    A killed preparation leaves no entry, and what it wrote is swept away by the
    next one. Of two processes that prepare the same entry, the first to finish wins.

    Raises:
        FerError: if the folder cannot be written or the disk is full, besides
            whatever ``prepare`` raises.

    Explained in: book/faces.ipynb
    """
    place = root()
    entry = _load(place / name)
    if entry is None:
        content = prepare()
        try:
            _keep(place, name, content)
        except OSError as error:
            size = f"{np.prod(content.shape) / 1e6:.1f} MB"
            what = f"The decoded images ({size}) cannot be kept in {place} ({error.strerror})"
            raise FerError(f"{what}: free some space or set FER_LIB_CACHE to another folder.") from error
        entry = _load(place / name)
    if entry is None:
        raise FerError(f"{place / name} cannot be read: delete this folder and start again.")
    return entry


def _load(folder: Path) -> Entry | None:
    try:
        meta = json.loads((folder / "meta.json").read_text())
        images = _mapped(folder / "images.npy")
        arrays = {name: np.load(folder / f"{name}.npy") for name in meta["arrays"]}
        return Entry(images, arrays, meta["fingerprint"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _mapped(path: Path) -> np.ndarray:
    """The bytes of a file of NumPy's, copied on write: torch wants a writable array, and the file stays as it is.

    Linux reserves memory for what may be copied, and refuses to map a file that is larger than memory, unless it is told not to.
    """
    if sys.platform != "linux":
        return np.load(path, mmap_mode="c")
    seen = np.load(path, mmap_mode="r")
    with open(path, "rb") as stream:
        place = mmap.mmap(stream.fileno(), 0, mmap.MAP_PRIVATE | NO_RESERVE, mmap.PROT_READ | mmap.PROT_WRITE)
    return np.frombuffer(place, seen.dtype, seen.size, seen.offset).reshape(seen.shape)


def _keep(place: Path, name: str, content: Content) -> None:
    place.mkdir(parents=True, exist_ok=True)
    _sweep(place)
    partial = place / f"{_PARTIAL}-{_machine()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
    partial.mkdir()
    try:
        fingerprint = _write(partial, content)
        meta = {"arrays": sorted(content.arrays), "fingerprint": fingerprint, "shape": content.shape}
        (partial / "meta.json").write_text(json.dumps(meta))
        if _load(place / name) is None:
            shutil.rmtree(place / name, ignore_errors=True)
        try:
            partial.rename(place / name)
        except OSError:
            # Another process was first, and its entry is as good.
            if not (place / name).exists():
                raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _write(folder: Path, content: Content) -> str:
    digest = hashlib.sha256(repr(tuple(content.shape)).encode())
    header = {"descr": "|u1", "fortran_order": False, "shape": tuple(content.shape)}
    with open(folder / "images.npy", "wb") as stream:
        np.lib.format.write_array_header_1_0(stream, header)
        for images in content.images:
            images = np.ascontiguousarray(images, np.uint8)
            stream.write(images.data)
            digest.update(images.data)
    for name, array in sorted(content.arrays.items()):
        np.save(folder / f"{name}.npy", array)
        digest.update(repr((name, str(array.dtype), array.shape)).encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()[:16]


def _sweep(place: Path) -> None:
    """Remove what killed preparations left."""
    for folder in place.glob(f"{_PARTIAL}-*-*-*"):
        _, machine, pid, _ = folder.name.rsplit("-", 3)
        with suppress(OSError, ValueError):
            dead = machine == _machine() and not _alive(int(pid))
            if dead or time.time() - folder.stat().st_mtime > ABANDONED_AFTER:
                shutil.rmtree(folder, ignore_errors=True)


def _machine() -> str:
    return f"{zlib.crc32(node().encode()):08x}"


def _alive(pid: int) -> bool:
    # On Windows os.kill(pid, 0) would end the process.
    if os.name != "posix":
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
