"""AffectNet in both releases, with seven and with eight classes, good and bad."""

import io
import re

import numpy as np
import pytest
from made_up import affectnet_new, affectnet_old, array, assert_bad, assert_unlike, face_of, line, picture, without, write
from PIL import Image

from fer_lib.data import affectnet as module
from fer_lib.data import check_dataset, load_dataset
from fer_lib.emotions import NAMES
from fer_lib.errors import FerError

RELEASES = {"old": affectnet_old(), "new": affectnet_new()}
OLD, NEW = RELEASES["old"][0], RELEASES["new"][0]
LIST, THIRD = "Manually_Annotated_file_lists/training.csv", f"Manually_Annotated_Images/2/{2:056x}.jpg"
TESTED = LIST.replace("training", "validation")
NUMBER = "train_set/annotations/2_exp.npy"


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("FER_LIB_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize("classes", [7, 8])
@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize(("name", "top"), [("tree", ""), ("set.zip", "AffectNet/")])
def test_a_good_tree(tmp_path, release, classes, name, top):
    files, truth = RELEASES[release]
    path, layout = write(tmp_path / name, {top + file: data for file, data in files.items()}), f"affectnet{classes}"
    splits = {split: load_dataset(layout, path, split) for split in ("train", "val", "test")}
    assert [len(faces) for faces in splits.values()] == [2 * classes, classes, 2 * classes]
    for split, faces in splits.items():
        assert (faces.name, faces.split, faces.classes, faces.subjects) == (layout, split, classes, None)
        assert faces.images.shape[1:] == (3, 224, 224)
        assert faces.labels.tolist() == [truth[face] for face in face_of(faces.images)]
        assert set(faces.counts().values()) == {1 if split == "val" else 2}
    seen = {split: set(face_of(faces.images)) for split, faces in splits.items()}
    kept = {face for face, label in truth.items() if label < classes}
    assert set.union(*seen.values()) == kept and sum(map(len, seen.values())) == len(kept)
    assert max(seen["train"] | seen["val"]) < min(seen["test"])


def test_seven_and_eight_classes_share_the_decoded_faces(tmp_path):
    path = write(tmp_path / "tree", NEW)
    eight = {split: load_dataset("affectnet8", path, split) for split in ("train", "val", "test")}
    assert len(list((tmp_path / "cache").iterdir())) == 2
    for split, faces in eight.items():
        seven = load_dataset("affectnet7", path, split)
        assert set(face_of(seven.images)) == set(face_of(faces.images[faces.labels < 7]))
        assert seven.fingerprint != faces.fingerprint
    assert len(list((tmp_path / "cache").iterdir())) == 2


def test_a_release_without_contempt_serves_seven_classes(tmp_path):
    contempt = [name for name in NEW if re.match(r"train_set/\w+/2[123][._]", name)]
    path = write(tmp_path / "tree", without(NEW, *contempt))
    assert len(contempt) == 9 and len(load_dataset("affectnet7", path, "train")) == 14
    with pytest.raises(FerError, match=r"\(train\) has no face of contempt"):
        load_dataset("affectnet8", path, "train")


def test_the_face_is_cut_out_by_its_box(tmp_path):
    pixels = np.zeros((90, 120, 3), np.uint8)
    pixels[20:60, 50:90] = (200, 100, 30)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    row = f"2/{2:056x}.jpg,50,20,40,40,0;0,0,0,0"
    files = line(OLD, LIST, 4, row) | {THIRD: stream.getvalue()}
    path = write(tmp_path / "tree", files)
    faces = [face for split in ("train", "val") for face in load_dataset("affectnet8", path, split).images]
    (found,) = [face[:, 16:-16, 16:-16] for face in faces if face[0, 112, 112] == 200]
    assert found.amin((1, 2)).tolist() == found.amax((1, 2)).tolist() == [200, 100, 30]


def test_a_validation_list_without_header(tmp_path):
    name = LIST.replace("training", "validation")
    files = OLD | {name: OLD[name].split(b"\n", 1)[1]}
    assert len(load_dataset("affectnet8", write(tmp_path / "tree", files), "test")) == 16


def labels_of(path) -> dict[int, int]:
    splits = [load_dataset("affectnet8", path, split) for split in ("train", "val", "test")]
    return {face: label for faces in splits for face, label in zip(face_of(faces.images), faces.labels.tolist())}


def test_the_numbers_of_the_new_release(tmp_path):
    """Three faces of each number to train on, two to test on, in the order of the publisher's numbers."""
    found = labels_of(write(tmp_path / "tree", NEW))
    train = [0, 0, 0, 1, 1, 1, 3, 3, 3, 2, 2, 2, 6, 6, 6, 5, 5, 5, 4, 4, 4, 7, 7, 7]
    assert [found[face] for face in range(40)] == [*train, 0, 0, 1, 1, 3, 3, 2, 2, 6, 6, 5, 5, 4, 4, 7, 7]


def test_the_numbers_of_the_old_release(tmp_path):
    found = labels_of(write(tmp_path / "tree", OLD))
    train = [0, 0, 0, 1, 1, 1, 3, 3, 3, 2, 2, 2, 6, 6, 6, 5, 5, 5, 4, 4, 4, 7, 7, 7]
    assert [found[face] for face in sorted(found)] == [*train, 0, 0, 1, 1, 3, 3, 2, 2, 6, 6, 5, 5, 4, 4, 7, 7]


def test_several_faces_of_one_picture(tmp_path):
    """Two people in a picture, each with a box: two faces, which go the same way."""
    row = f"0/{0:056x}.jpg,15,6,40,40,0;0,1,0,0".encode()
    path = write(tmp_path / "tree", OLD | {LIST: OLD[LIST] + b"\n" + row})
    report = check_dataset("affectnet8", path)
    assert report.usable and report.faults == () and report.counts["train+val"]["happiness"] == 4
    sides = [face_of(load_dataset("affectnet8", path, split).images).count(0) for split in ("train", "val")]
    assert sorted(sides) == [0, 2]


def test_a_picture_of_no_emotion_may_be_in_both_lists(tmp_path):
    row = f"2/{2:056x}.jpg,5,6,40,40,0;0,9,0,0".encode()
    assert check_dataset("affectnet8", write(tmp_path / "tree", OLD | {TESTED: OLD[TESTED] + b"\n" + row})).usable


def test_the_other_list_decides_what_is_trained_on_also_after_the_first_time(tmp_path):
    path = write(tmp_path / "tree", OLD)
    load_dataset("affectnet8", path, "train")
    write(path, {TESTED: OLD[TESTED] + b"\n" + f"{ROW},1,0,0".encode()})
    with pytest.raises(FerError, match=r"is in validation\.csv too"):
        load_dataset("affectnet8", path, "train")
    assert len(load_dataset("affectnet8", path, "test")) == 17


def test_other_numbers_of_classes(tmp_path):
    for action in (lambda: module.load(tmp_path, "train", 9), lambda: module.check(tmp_path, 9)):
        with pytest.raises(FerError, match="AffectNet has 7 or 8 classes, not 9"):
            action()


def test_check_counts_what_is_left_out(tmp_path):
    report = check_dataset("affectnet7", write(tmp_path / "tree", OLD))
    assert report.usable and report.faults == ()
    assert report.rows == {"train+val": 33, "train": 14, "val": 7, "test": 22}
    assert report.removed == {"train+val": {"no emotion": 9, "contempt": 3}, "test": {"no emotion": 6, "contempt": 2}}
    assert report.counts["test"] == dict.fromkeys(NAMES[:7], 2)
    assert check_dataset("affectnet8", tmp_path / "tree").counts["test"] == dict.fromkeys(NAMES, 2)


@pytest.mark.parametrize("value", ["3", "3.0", b"3", 3, 3.0, [3.0]])
def test_the_forms_of_an_annotation(value):
    assert module._expression(array(np.array(value))) == "3"


NO_IMAGE, TAKE_OUT = "is no image of this dataset", "fetch it again or take it out of the list."
ROW = f"2/{2:056x}.jpg,5,6,40,40,0;0"
BAD = {
    "old: an unknown label": (
        line(OLD, LIST, 4, f"{ROW},11,0,0"),
        f"{LIST} in PATH, line 4: expression '11' is none of 0 to 10; fetch the dataset again.",
    ),
    "old: the same row twice": (
        line(OLD, LIST, 5, f"{ROW},0,0,0"),
        f"{LIST} in PATH, line 5: the same face of {THIRD} is listed a second time; keep one of the two.",
    ),
    "old: one face with two labels": (
        line(OLD, LIST, 5, f"2/{2:056x}.jpg,5.0,6,40,40,0;0,4,0,0"),
        f"{LIST} in PATH, line 5: the same face of {THIRD} is listed a second time; keep one of the two.",
    ),
    "old: one face with and without emotion": (
        line(OLD, LIST, 5, f"{ROW},9,0,0"),
        f"{LIST} in PATH, line 5: the same face of {THIRD} is listed a second time; keep one of the two.",
    ),
    "old: a picture in both lists": (
        OLD | {TESTED: OLD[TESTED] + f"\n2/{2:056x}.jpg,9,6,40,40,0;0,1,0,0".encode()},
        f"{LIST} in PATH, line 4: {THIRD} is in validation.csv too, so that training would see a face of the test; "
        "keep one of the two rows.",
    ),
    "old: columns": (
        line(OLD, LIST, 4, "what,is,this"),
        f"{LIST} in PATH, line 4: 3 columns, expected 7 or more; fetch the list again.",
    ),
    "old: a box of words": (
        line(OLD, LIST, 4, f"2/{2:056x}.jpg,a,6,40,40,0;0,0,0,0"),
        f"{LIST} in PATH, line 4: a, 6, 40, 40 is no face box; fetch the list again.",
    ),
    "old: a box outside": (
        line(OLD, LIST, 4, f"2/{2:056x}.jpg,500,6,40,40,0;0,0,0,0"),
        f"{THIRD} in PATH {NO_IMAGE} (its face box (left 500, top 6, 40x40 pixels) does not meet "
        f"the picture of 62x80 pixels): {TAKE_OUT}",
    ),
    "old: a box of nothing": (
        line(OLD, LIST, 4, f"2/{2:056x}.jpg,nan,6,inf,40,0;0,0,0,0"),
        f"{THIRD} in PATH {NO_IMAGE} (its face box (left nan, top 6, infx40 pixels) does not meet "
        f"the picture of 62x80 pixels): {TAKE_OUT}",
    ),
    "old: no such column": (
        line(OLD, LIST, 1, "subDirectory_filePath,face_x,face_y,expression"),
        f"{LIST} in PATH, line 1: no column 'face_width'; fetch the list again.",
    ),
    "old: an absent picture": (without(OLD, THIRD), f"PATH has no {THIRD}: complete the dataset."),
    "new: an absent picture": (
        without(NEW, "train_set/images/2.jpg"),
        "PATH has no train_set/images/2.jpg: complete the dataset.",
    ),
    "new: another size": (
        NEW | {"train_set/images/2.jpg": picture(2, (96, 96))},
        f"train_set/images/2.jpg in PATH {NO_IMAGE} (it is 96x96 pixels, expected 224x224): {TAKE_OUT}",
    ),
    "new: an unknown label": (
        NEW | {NUMBER: array(np.array("99"))},
        f"{NUMBER} in PATH: expression '99' is none of 0 to 10; fetch the dataset again.",
    ),
    "new: half a number": (
        NEW | {NUMBER: array(np.array(2.7))},
        f"{NUMBER} in PATH holds no expression (ValueError: 2.7 is no whole number): fetch it again.",
    ),
    "new: half a number as text": (
        NEW | {NUMBER: array(np.array("2.7"))},
        f"{NUMBER} in PATH holds no expression (ValueError: 2.7 is no whole number): fetch it again.",
    ),
    "new: no number": (
        NEW | {NUMBER: array(np.array(np.nan))},
        f"{NUMBER} in PATH holds no expression (ValueError: nan is no whole number): fetch it again.",
    ),
    "new: a face with two labels": (
        NEW | {NUMBER.replace("/2_", "/more/2_"): array(np.array("4"))},
        f"{NUMBER.replace('/2_', '/more/2_')} in PATH: the same face of train_set/images/2.jpg is listed a second time; "
        "keep one of the two.",
    ),
    "new: no annotations": (
        {name: data for name, data in NEW.items() if not name.startswith("train_set/annotations/")},
        "PATH has no train_set/annotations/ (0_exp.npy and the like): complete the dataset.",
    ),
    "new: a pickle": (
        NEW | {NUMBER: array(np.array([{}]))},
        f"{NUMBER} in PATH holds no expression (ValueError: Object arrays cannot be loaded when allow_pickle=False): "
        "fetch it again.",
    ),
    "new: an empty class": (
        without(NEW, *(f"train_set/annotations/{face}_exp.npy" for face in (3, 4, 5))),
        "PATH (train+val) has no face of happiness after cleaning: complete the dataset, since every class needs faces.",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_a_bad_tree(tmp_path, case):
    files, expected = BAD[case]
    assert_bad("affectnet8", write(tmp_path / "tree", files), expected)


@pytest.mark.parametrize("classes", [7, 8])
def test_another_tree(tmp_path, classes):
    expected = f"PATH holds no AffectNet: expected {module._Eight.expected}."
    assert_unlike(f"affectnet{classes}", write(tmp_path / "tree", {"images/1.jpg": b""}), expected)


def test_both_releases_in_one_folder(tmp_path):
    expected = "PATH holds the old and the new release of AffectNet: give one of them alone."
    assert_unlike("affectnet8", write(tmp_path / "tree", OLD | NEW), expected)


def test_a_part_that_is_not_there(tmp_path):
    path = write(tmp_path / "tree", without(OLD, LIST.replace("training", "validation")))
    with pytest.raises(FerError, match=r"has no pictures or list for test: expected .+; add them, or do without test\.$"):
        load_dataset("affectnet8", path, "test")
    assert check_dataset("affectnet8", path).usable and len(load_dataset("affectnet8", path, "val")) == 8


def test_check_lists_all_faults_at_once(tmp_path):
    files = without(NEW, "train_set/images/2.jpg", "train_set/annotations/0_exp.npy")
    files |= {"train_set/annotations/1_exp.npy": b"", "val_set/images/30.jpg": b"GIF89a"}
    files |= {"val_set/annotations/31_exp.npy": array(np.array("x"))}
    report = check_dataset("affectnet8", write(tmp_path / "tree", files))
    told = "\n".join(report.faults)
    parts = ("has no train_set/images/2.jpg", "/1_exp.npy in", "/30.jpg in", "/31_exp.npy in")
    for part in (*parts, "2 pictures in", "1 picture in"):
        assert part in told
    assert not report.usable
