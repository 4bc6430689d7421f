"""What all datasets with neutral twins share: faces, twins, people, folds; damage that is named."""

import re
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_up import write
from made_up_pairs import PAIRS, tones

from fer_lib.data import DATASETS, check_dataset, load_dataset, pairs
from fer_lib.data.faceset import SPLITS
from fer_lib.errors import FerError

TREES = {name: make() for name, make in PAIRS.items()}
FORMS = {"folder": ("tree", "data/set/"), "zip": ("set.zip", "")}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("FER_LIB_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", TREES)
def test_every_face_is_tested_once_with_its_label_twin_and_person(tmp_path, name, form):
    files, truth = TREES[name]
    path = write(tmp_path / FORMS[form][0], {FORMS[form][1] + file: data for file, data in files.items()} | {"README": b""})
    tested, numbers = [], {}
    for fold in range(10):
        people = []
        for split in SPLITS:
            faces = load_dataset(name, path, split, fold)
            shown, twins = tones(name, faces.images), tones(name, faces.neutral)
            assert (faces.name, faces.split, faces.images.shape[2:]) == (name, split, (112, 112))
            assert faces.labels.tolist() == [truth[face].label for face in shown]
            assert twins == [truth[face].twin for face in shown]
            for face, number in zip(shown, faces.subjects.tolist(), strict=True):
                assert numbers.setdefault(truth[face].person, number) == number
            people.append({truth[face].person for face in shown})
            tested += shown if split == "test" else []
        assert all(people) and len(set.union(*people)) == sum(map(len, people)), "a person is in two parts"
    assert sorted(tested) == sorted(truth)
    assert len(set(numbers.values())) == len(numbers)


@pytest.mark.parametrize("name", TREES)
def test_folder_and_zip_have_one_fingerprint_and_ten_folds_are_decoded_once(tmp_path, name, monkeypatch):
    folder, zipped = (write(tmp_path / kind, TREES[name][0]) for kind in ("tree", "set.zip"))
    first = load_dataset(name, folder, "train", 1).fingerprint
    assert load_dataset(name, zipped, "train", 1).fingerprint == first
    assert load_dataset(name, zipped, "train", 2).fingerprint != first
    monkeypatch.setattr(pairs, "decode", None)
    assert load_dataset(name, folder, "test", 7).images.any()
    assert len(list((tmp_path / "cache").iterdir())) == 2


@pytest.mark.parametrize("name", TREES)
def test_a_good_tree_is_usable_and_alignment_is_named(tmp_path, name):
    files, truth = TREES[name]
    report = check_dataset(name, write(tmp_path / "tree", files))
    assert report.usable and sum(report.counts["all"].values()) == len(truth)
    assert report.rows["all"] == len(truth) + sum(report.removed["all"].values())
    layout = DATASETS[name]
    assert layout.folds == 10 and layout.alignment == ("eyes-1" if name in ("ckplus", "london") else "middle square")


@pytest.mark.parametrize("name", TREES)
def test_unknown_splits_and_folds(tmp_path, name):
    path = write(tmp_path / "tree", TREES[name][0])
    with pytest.raises(FerError, match=r"has no split 'valid': take one of train, val, test\.$"):
        load_dataset(name, path, "valid")
    with pytest.raises(FerError, match=f"There is no fold 10 of {name}: it has folds 0 to 9"):
        load_dataset(name, path, "test", 10)


def without_person(name: str, person: str) -> dict[str, bytes]:
    """The tree as if somebody had never been there."""
    files = TREES[name][0]
    if name == "london":
        rows = [row for row in files["london_info.csv"].split(b"\n") if not row.startswith(person.encode())]
        return {file: data for file, data in files.items() if f"/{person}_" not in file} | {"london_info.csv": b"\n".join(rows)}
    folders = {file.rpartition("/")[0] for file in files if person in file}
    return {file: data for file, data in files.items() if file.rpartition("/")[0] not in folders}


@pytest.mark.parametrize("name", ["ckplus", "mmi"])
def test_nine_people_are_too_few(tmp_path, name):
    path = write(tmp_path / "tree", without_person(name, min(face.person for face in TREES[name][1].values())))
    title = {"ckplus": "CK+", "mmi": "MMI"}[name]
    expected = f"{path} ({title}): 9 people cannot be split into 10 folds: complete the dataset."
    report = check_dataset(name, path)
    assert expected in report.faults and not report.usable
    with pytest.raises(FerError, match=re.escape(expected)):
        load_dataset(name, path, "test")


def test_who_is_missing_from_london_changes_nothing_for_the_others(tmp_path):
    path = write(tmp_path / "tree", without_person("london", "007"))
    assert check_dataset("london", path).counts["all"]["happiness"] == 11
    assert sum(len(load_dataset("london", path, "test", fold)) for fold in range(10)) == 22


damage = st.tuples(
    st.sampled_from(["delete", "truncate", "rename", "flip", "garbage"]),
    st.integers(0, 10**6),
    st.floats(0, 1, exclude_max=True),
    st.binary(min_size=1, max_size=6),
)


def spoil(files: dict[str, bytes], how: str, which: int, where: float, bits: bytes) -> None:
    texts = [name for name in sorted(files) if name.endswith((".txt", ".csv", ".xml", ".tem"))]
    # A text is as likely to be hit as a picture.
    names = texts if texts and which % 2 else sorted(files)
    name = names[which // 2 % len(names)]
    data, at = files[name], int(where * len(files[name]))
    if how == "delete":
        del files[name]
    elif how == "truncate":
        files[name] = data[:at]
    elif how == "rename":
        files[name[: int(where * len(name))] + bits.hex() + name[-4:]] = files.pop(name)
    elif how == "flip":
        files[name] = data[:at] + bytes(a ^ b for a, b in zip(data[at:], bits, strict=False)) + data[at + len(bits) :]
    else:
        files[name] = data[:at] + b"\n" + bits + b"\n" + data[at:]


@pytest.mark.parametrize("name", TREES)
@settings(max_examples=8, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(damages=st.lists(damage, min_size=1, max_size=3), zipped=st.booleans(), fold=st.integers(0, 9))
def test_random_damage_gives_our_error_or_a_correct_face_set(name, damages, zipped, fold):
    files, truth = dict(TREES[name][0]), TREES[name][1]
    for one in damages:
        spoil(files, *one)
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("FER_LIB_CACHE", f"{folder}/cache")
        path, good = write(Path(folder) / ("set.zip" if zipped else "tree"), files), {}
        for split in SPLITS:
            try:
                good[split] = load_dataset(name, path, split, fold)
            except FerError as error:
                assert str(error).endswith(".") and "\n" not in str(error)
        seen = [set(faces.subjects.tolist()) for faces in good.values()]
        assert sum(map(len, seen)) == len(set().union(*seen)), "a person is in two parts"
        for faces in good.values():
            assert len(faces) and faces.labels.max() < faces.classes
            # Eyes or a label may lawfully have changed, and with a frame the peak; a face and its twin stay one person's.
            pairs = zip(tones(name, faces.images), tones(name, faces.neutral), strict=True)
            known = [(face, twin) for face, twin in pairs if face in truth and twin in truth]
            assert all(truth[face].person == truth[twin].person for face, twin in known)
        try:
            report = check_dataset(name, path)
        except FerError as error:
            assert str(error).endswith(".") and not good
            return
        assert all(text.endswith(".") and "\n" not in text for text in report.faults)
        assert not report.usable or "train" in good


@pytest.mark.parametrize("name", TREES)
def test_a_damaged_zip_gives_our_error_or_the_same_faces(tmp_path, name, monkeypatch):
    whole = write(tmp_path / "good.zip", TREES[name][0]).read_bytes()
    good = load_dataset(name, tmp_path / "good.zip", "val").fingerprint
    rng, path, same = np.random.default_rng(0), tmp_path / "bad.zip", 0
    for trial in range(12):
        monkeypatch.setenv("FER_LIB_CACHE", str(tmp_path / f"cache {trial}"))
        data = bytearray(whole)
        start = int(rng.choice([rng.integers(len(whole)), len(whole) - rng.integers(1, 3000)]))
        data[start : start + int(rng.integers(1, 9))] = rng.bytes(int(rng.integers(0, 9)))
        path.write_bytes(data)
        try:
            same += load_dataset(name, path, "val").fingerprint == good
        except FerError as error:
            assert str(error).endswith(".") and "\n" not in str(error)
    assert same < 12
