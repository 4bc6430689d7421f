"""The cache is whole or not there, whoever kills, races or fills it."""

import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from made_up import is_mapped

from fer_lib.data import cache
from fer_lib.data.cache import Content
from fer_lib.errors import FerError

SHAPE = (6, 1, 4, 4)
IMAGES = np.arange(96, dtype=np.uint8).reshape(SHAPE)


def content(parts: int = 2, **arrays: np.ndarray) -> Content:
    return Content(SHAPE, iter(np.array_split(IMAGES, parts)), {"labels": np.arange(6)} | arrays)


def refuse() -> Content:
    raise AssertionError("prepared a second time")


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    monkeypatch.setenv("FER_LIB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_what_was_kept_comes_back_without_preparing(place):
    first, second = cache.fetch("k", content), cache.fetch("k", refuse)
    for entry in (first, second):
        assert np.array_equal(entry.images, IMAGES) and is_mapped(entry.images)
        assert np.array_equal(entry.arrays["labels"], np.arange(6))
    assert first.fingerprint == second.fingerprint and len(first.fingerprint) == 16
    assert [p.name for p in place.iterdir()] == ["k"]


def test_images_that_are_larger_than_memory_are_mapped(place):
    """A file of a terabyte that takes no room on the disk, as nothing was written there."""
    cache.fetch("k", content)
    shape = (7_000_000, 3, 224, 224)
    with open(place / "k" / "images.npy", "wb") as stream:
        np.lib.format.write_array_header_1_0(stream, {"descr": "|u1", "fortran_order": False, "shape": shape})
        try:
            stream.truncate(stream.tell() + int(np.prod(shape)))
        except OSError:
            pytest.skip("This disk has no files with holes, or none of a terabyte.")
    images = cache.fetch("k", refuse).images
    assert images.shape == shape and not images[-1].any() and images.flags.writeable


def test_writing_to_the_images_does_not_reach_the_disk():
    cache.fetch("k", content).images[:] = 0
    assert np.array_equal(cache.fetch("k", refuse).images, IMAGES)


def test_the_fingerprint_follows_the_content_alone():
    prints = [cache.fetch(str(n), lambda n=n: content(n)).fingerprint for n in (1, 2, 6)]
    assert len(set(prints)) == 1
    assert cache.fetch("labels", lambda: content(labels=np.arange(6)[::-1])).fingerprint != prints[0]
    changed = Content(SHAPE, [IMAGES + 1], {"labels": np.arange(6)})
    assert cache.fetch("pixels", lambda: changed).fingerprint != prints[0]


def test_a_failed_preparation_leaves_nothing(place):
    def broken():
        yield IMAGES[:3]
        raise FerError("image 4 is corrupt.")

    with pytest.raises(FerError, match="image 4"):
        cache.fetch("k", lambda: Content(SHAPE, broken()))
    assert list(place.iterdir()) == []


def test_a_killed_preparation_leaves_no_entry_and_is_swept(place):
    script = """
import sys, time
import numpy as np
from fer_lib.data import cache
def images():
    yield np.zeros((3, 1, 4, 4), np.uint8)
    print("half", flush=True)
    time.sleep(60)
cache.fetch("k", lambda: cache.Content((6, 1, 4, 4), images()))
"""
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"half\n"
    (partial,) = place.iterdir()
    with pytest.raises(AssertionError):
        cache.fetch("k", refuse)
    cache.fetch("other", content)
    assert partial.exists(), "swept while its process lives"
    process.kill()
    process.communicate()
    assert np.array_equal(cache.fetch("k", content).images, IMAGES)
    assert sorted(p.name for p in place.iterdir()) == ["k", "other"]


def test_what_another_machine_left_is_swept_after_a_week(place):
    young, old = place / ".partial-00000000-1-aa", place / ".partial-00000000-1-bb"
    young.mkdir(parents=True)
    old.mkdir()
    os.utime(old, (time.time() - 8 * 24 * 3600,) * 2)
    cache.fetch("k", content)
    assert young.exists() and not old.exists()


def test_two_at_once_do_no_harm(place):
    barrier, entries = threading.Barrier(2), []

    def images():
        barrier.wait()
        yield IMAGES
        barrier.wait()

    def work():
        entries.append(cache.fetch("k", lambda: Content(SHAPE, images(), {})))

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(entries) == 2 and all(np.array_equal(entry.images, IMAGES) for entry in entries)
    assert [p.name for p in place.iterdir()] == ["k"]


@pytest.mark.parametrize("file", ["images.npy", "labels.npy", "meta.json"])
def test_a_damaged_entry_is_made_again(place, file):
    cache.fetch("k", content)
    whole = (place / "k" / file).read_bytes()
    (place / "k" / file).write_bytes(whole[: len(whole) // 2])
    assert np.array_equal(cache.fetch("k", content).images, IMAGES)
    assert (place / "k" / file).read_bytes() == whole


def test_a_full_disk_is_one_sentence_and_leaves_nothing(place):
    shape = (2, 1, 1024, 1024)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, hard))
    try:
        with pytest.raises(FerError) as error:
            cache.fetch("k", lambda: Content(shape, [np.zeros(shape, np.uint8)]))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert str(error.value) == (
        f"The decoded images (2.1 MB) cannot be kept in {place} (File too large): "
        "free some space or set FER_LIB_CACHE to another folder."
    )
    assert list(place.iterdir()) == []


def test_a_place_that_cannot_be_written_is_one_sentence(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("FER_LIB_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(FerError, match=r"cannot be kept in .*Not a directory.*set FER_LIB_CACHE"):
        cache.fetch("k", content)


def test_the_place_follows_the_environment(monkeypatch, tmp_path):
    assert cache.root() == tmp_path / "cache"
    monkeypatch.delenv("FER_LIB_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path / "absent"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache.root() == tmp_path / "xdg" / "fer_lib"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert cache.root() == tmp_path / "absent" / ".cache" / "fer_lib"
    assert np.array_equal(cache.fetch("k", content).images, IMAGES)
    monkeypatch.setenv("HOME", "")
    assert cache.root() == Path(tempfile.gettempdir()) / "fer_lib"
