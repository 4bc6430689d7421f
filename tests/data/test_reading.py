"""What all loaders of pictures share: slices of one decoded file, damage that is named, memory that stays."""

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_up import TREES, face_of, is_mapped, jaffe, write

from fer_lib.data import DATASETS, check_dataset, load_dataset, reading
from fer_lib.data.archive import Archive
from fer_lib.data.faceset import SPLITS
from fer_lib.data.folds import in_split, person_folds
from fer_lib.data.tree import tops
from fer_lib.errors import FerError

LISTS = (".txt", ".csv", ".npy")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("FER_LIB_CACHE", str(tmp_path / "cache"))


def test_folds_are_those_of_person_folds_in_slices_of_one_file(tmp_path):
    files, _ = jaffe()
    path = write(tmp_path / "tree", files)
    assigned = person_folds([name.split("/")[1][:2] for name in files])
    for fold in range(10):
        for split in SPLITS:
            faces = load_dataset("jaffe", path, split, fold)
            assert sorted(face_of(faces.images)) == np.flatnonzero(in_split(assigned, split, fold)).tolist()
    assert len(list((tmp_path / "cache").iterdir())) == 1


@pytest.mark.parametrize("tree", TREES)
def test_a_split_is_mapped_and_never_copied(tmp_path, tree, monkeypatch):
    name, make = TREES[tree]
    path, kept = write(tmp_path / "tree", make()[0]), []
    whole = reading.cache.fetch
    monkeypatch.setattr(reading.cache, "fetch", lambda *args: kept.append(whole(*args)) or kept[-1])
    prints = set()
    for split in SPLITS:
        faces = load_dataset(name, path, split)
        assert is_mapped(kept[-1].images) and np.shares_memory(faces.images.numpy(), kept[-1].images)
        prints.add(faces.fingerprint)
    assert len(prints) == 3


@pytest.mark.parametrize("tree", TREES)
def test_folder_and_zip_have_one_fingerprint_and_a_second_call_decodes_nothing(tmp_path, tree, monkeypatch):
    name, make = TREES[tree]
    folder, zipped = (write(tmp_path / kind, make()[0]) for kind in ("tree", "set.zip"))
    first = [load_dataset(name, folder, split).fingerprint for split in SPLITS]
    assert [load_dataset(name, zipped, split).fingerprint for split in SPLITS] == first
    monkeypatch.setattr(reading, "_content", None)
    assert [load_dataset(name, folder, split).fingerprint for split in SPLITS] == first


def test_where_a_file_or_folder_lies(tmp_path):
    files = dict.fromkeys(("a/list.txt", "b/c/list.txt", "mylist.txt", "list.txt.old", "d/set/1.png", "set2/1.png"), b"")
    with Archive(write(tmp_path / "tree", files)) as archive:
        assert tops(archive, "list.txt") == ["a/", "b/c/"]
        assert tops(archive, "set") == ["d/"] and tops(archive, "set2", "a") == [""] and tops(archive, "x") == []


damage = st.tuples(
    st.sampled_from(["delete", "truncate", "rename", "swap", "flip", "garbage"]),
    st.floats(0, 1, exclude_max=True),
    st.floats(0, 1, exclude_max=True),
    st.binary(min_size=1, max_size=6),
)


def apply(files: dict[str, bytes], how: str, which: float, where: float, bits: bytes) -> bool:
    """Damage a file; whether labels may honestly differ after it."""
    lists = [name for name in files if name.endswith(LISTS)]
    # A list is as likely to be hit as all the pictures together.
    names = lists if lists and which < 0.5 else sorted(files)
    name = names[int(which * 2 % 1 * len(names))]
    data, at = files[name], int(where * len(files[name]))
    if how == "delete":
        del files[name]
    elif how == "truncate":
        files[name] = data[:at]
    elif how == "rename":
        files[name[: int(where * len(name))] + bits.hex() + ".tiff"] = files.pop(name)
    elif how == "swap":
        other = sorted(files)[int(where * len(files))]
        files[name], files[other] = files[other], files[name]
    elif how == "flip":
        files[name] = data[:at] + bytes(a ^ b for a, b in zip(data[at:], bits)) + data[at + len(bits) :]
    else:
        files[name] = data[:at] + b"\n" + bits + b"\n" + data[at:]
    return name in lists or how in ("rename", "swap")


@pytest.mark.parametrize("tree", TREES)
@settings(max_examples=30, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(damages=st.lists(damage, min_size=1, max_size=3), zipped=st.booleans(), fold=st.integers(0, 9))
def test_random_damage_gives_our_error_or_a_correct_face_set(tree, damages, zipped, fold):
    name, make = TREES[tree]
    files, truth = make()
    moved = any([apply(files, *one) for one in damages])
    # Another tone in a picture that is still a picture is nothing that a loader could see.
    blurred = sum(how in ("flip", "garbage") for how, *_ in damages)
    fold = fold if DATASETS[name].folds > 1 else 0
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("FER_LIB_CACHE", f"{folder}/cache")
        path, good = write(Path(folder) / ("set.zip" if zipped else "tree"), files), {}
        for split in SPLITS:
            try:
                faces = good[split] = load_dataset(name, path, split, fold)
            except FerError as error:
                assert str(error).endswith(".")
                continue
            assert len(faces) and faces.labels.max() < faces.classes
            if not moved:
                pairs = zip(face_of(faces.images), faces.labels.tolist(), strict=True)
                assert sum(truth.get(face) != label for face, label in pairs) <= blurred
        shown = [face for faces in good.values() for face in face_of(faces.images)]
        assert moved or len(shown) - len(set(shown)) <= blurred, "a face is in two splits"
        try:
            report = check_dataset(name, path)
        except FerError as error:
            assert str(error).endswith(".") and not good
            return
        assert all(text.endswith(".") for text in report.faults)
        if report.usable and DATASETS[name].folds == 1:
            assert set(good) == {split for split in SPLITS if sum(report.counts.get(split, {}).values())}
        elif report.usable:
            assert set(good) == set(SPLITS)


@pytest.mark.parametrize("tree", ["rafdb", "jaffe"])
def test_a_damaged_zip_gives_our_error_or_the_same_faces(tmp_path, tree, monkeypatch):
    name, make = TREES[tree]
    whole = write(tmp_path / "good.zip", make()[0]).read_bytes()
    good = load_dataset(name, tmp_path / "good.zip", "val").fingerprint
    rng, path, same = np.random.default_rng(0), tmp_path / "bad.zip", 0
    for trial in range(25):
        monkeypatch.setenv("FER_LIB_CACHE", str(tmp_path / f"cache {trial}"))
        data = bytearray(whole)
        start = int(rng.choice([rng.integers(len(whole)), len(whole) - rng.integers(1, 3000)]))
        data[start : start + int(rng.integers(1, 9))] = rng.bytes(int(rng.integers(0, 9)))
        path.write_bytes(data)
        try:
            same += load_dataset(name, path, "val").fingerprint == good
        except FerError as error:
            assert str(error).endswith(".")
    assert same < 25


MEMORY = """
import resource, sys
from fer_lib.data import load_dataset
def peak(path):
    faces = load_dataset("rafdb", path, "train")
    assert len(faces)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
before = peak(sys.argv[1])
print(peak(sys.argv[2]) - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is counted in kB on Linux alone")
def test_memory_does_not_grow_with_the_number_of_pictures(tmp_path):
    data, paths = next(iter(TREES["rafdb"][1]()[0].values())), []
    for number in (400, 4000):
        files = {f"Image/aligned/train_{k:05d}_aligned.jpg": data for k in range(number)}
        lines = "\n".join(f"train_{k:05d}.jpg {k % 7 + 1}" for k in range(number))
        paths.append(write(tmp_path / f"{number}.zip", files | {"EmoLabel/list_patition_label.txt": lines.encode()}))
    result = subprocess.run([sys.executable, "-c", MEMORY, *paths], capture_output=True, text=True, check=True)
    pixels = 4000 * 3 * 100 * 100
    assert int(result.stdout) * 1024 < pixels / 4, "the pictures are held in memory"
