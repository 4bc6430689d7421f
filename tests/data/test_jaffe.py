"""JAFFE, good and bad: ten women, each tested once."""

import pytest
from made_up import assert_bad, assert_unlike, face_of, jaffe, picture, without, write

from fer_lib.data import check_dataset, load_dataset
from fer_lib.data import jaffe as module
from fer_lib.emotions import NAMES
from fer_lib.errors import FerError

FILES, FACES = jaffe()
FIRST = "jaffe/KA.AN1.1.tiff"


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("FER_LIB_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize("name", ["tree", "set.zip"])
@pytest.mark.parametrize("top", ["", "data/"])
def test_every_fold_leaves_one_woman_out(tmp_path, name, top):
    path, tested = write(tmp_path / name, {top + file: data for file, data in FILES.items()} | {"README": b""}), []
    for fold in range(10):
        splits = {split: load_dataset("jaffe", path, split, fold) for split in ("train", "val", "test")}
        women = [set(faces.subjects.tolist()) for faces in splits.values()]
        assert list(map(len, women)) == [8, 1, 1] and len(set.union(*women)) == 10
        for split, faces in splits.items():
            assert (faces.name, faces.split, faces.classes, faces.images.shape[1:]) == ("jaffe", split, 7, (1, 256, 256))
            assert faces.labels.tolist() == [FACES[face] for face in face_of(faces.images)]
            assert faces.subjects.tolist() == [face // 7 for face in face_of(faces.images)]
        tested += face_of(splits["test"].images)
    assert sorted(tested) == list(range(70))


def test_the_published_counts(tmp_path):
    counts = {"AN": 30, "DI": 29, "FE": 32, "HA": 31, "NE": 30, "SA": 31, "SU": 30}
    data, women = picture(1, (256, 256), "L"), ("KA", "KL", "KM", "KR", "MK", "NA", "NM", "TM", "UY", "YM")
    files = {f"{women[k % 10]}.{code}{k // 10}.{k}.tiff": data for code, number in counts.items() for k in range(number)}
    report = check_dataset("jaffe", write(tmp_path / "set.zip", files))
    assert report.rows == {"all": 213} and report.faults == () and report.usable
    assert report.counts["all"] == {
        "neutral": 30, "happiness": 31, "surprise": 30, "sadness": 31, "anger": 30, "disgust": 29, "fear": 32,
    }  # fmt: skip


NO_IMAGE = "is no image of this dataset"
BAD = {
    "another name": (
        FILES | {"jaffe/face.tiff": FILES[FIRST]},
        "jaffe/face.tiff in PATH is not named like KA.AN1.39.tiff: give it its name, or take it out.",
    ),
    "an unknown expression": (
        FILES | {"jaffe/KA.XX1.99.tiff": FILES[FIRST]},
        "jaffe/KA.XX1.99.tiff in PATH: 'XX' is no expression of JAFFE (AN, DI, FE, HA, NE, SA, SU); "
        "give the file its name, or take it out.",
    ),
    "too few women": (
        {name: data for name, data in FILES.items() if "/KA." not in name},
        "PATH (JAFFE): 9 people cannot be split into 10 folds: complete the dataset.",
    ),
    "another size": (
        FILES | {FIRST: picture(0, (48, 48), "L")},
        f"{FIRST} in PATH {NO_IMAGE} (it is 48x48 pixels, expected 256x256): fetch it again or take it out of the list.",
    ),
    "another mode": (
        FILES | {FIRST: picture(0, (256, 256), "L", "GIF")},
        f"{FIRST} in PATH {NO_IMAGE} (it is none of BMP, JPEG, PNG, TIFF): fetch it again or take it out of the list.",
    ),
    "an empty class": (
        {name: data for name, data in FILES.items() if ".FE" not in name},
        "PATH (all) has no face of fear after cleaning: complete the dataset, since every class needs faces.",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_tree(tmp_path, case):
    files, expected = BAD[case]
    assert_bad("jaffe", write(tmp_path / "tree", files), expected)


def test_another_tree(tmp_path):
    expected = "PATH holds no JAFFE: expected one folder with KA.AN1.39.tiff and the like."
    assert_unlike("jaffe", write(tmp_path / "tree", {"jaffe/1.tiff": b""}), expected)


def test_check_lists_all_faults_at_once(tmp_path):
    files = BAD["another name"][0] | BAD["an unknown expression"][0] | {"jaffe/notes.txt": b"", FIRST: b""}
    report = check_dataset("jaffe", write(tmp_path / "tree", files))
    assert len(report.faults) == 5 and not report.usable, "two names, a picture; then 213 and a stray file"


def test_a_class_that_only_two_women_show_is_missing_where_both_are_left_out(tmp_path):
    women = {name.split("/")[1][:2] for name in FILES}
    folds = {}
    path = write(tmp_path / "whole", FILES)
    for fold in range(10):
        folds[fold] = face_of(load_dataset("jaffe", path, "test", fold).images)[0] // 7
    order = ["KA", "KL", "KM", "KR", "MK", "NA", "NM", "TM", "UY", "YM"]
    two = {order[folds[3]], order[folds[4]]}
    files = {name: data for name, data in FILES.items() if ".FE" not in name or name.split("/")[1][:2] in two}
    # The two women keep one face more than the others, which must not move anybody to another fold.
    files = without(files, *(name for name in files if ".AN" in name and name.split("/")[1][:2] in two))
    assert len(women) == 10
    path = write(tmp_path / "less", files)
    report = check_dataset("jaffe", path)
    grave = [text for text in report.faults if "(train, fold" in text]
    assert len(grave) == 1 and "has no face of fear" in grave[0] and not report.usable
    fold = int(grave[0].split("fold ")[1].split(")")[0])
    with pytest.raises(FerError) as error:
        load_dataset("jaffe", path, "train", fold)
    assert str(error.value) == grave[0]
    assert len(load_dataset("jaffe", path, "test", fold)) == 6


def test_no_such_fold(tmp_path):
    with pytest.raises(FerError, match="no fold 10 of jaffe: it has folds 0 to 9"):
        load_dataset("jaffe", write(tmp_path / "tree", FILES), "test", 10)
    assert module.LAYOUTS[0].folds == 10 and len(NAMES) == 8
