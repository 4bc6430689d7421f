"""Oulu-CASIA: six conditions of the same people, and bad trees."""

import numpy as np
import pytest
from made_up import assert_bad, assert_unlike, picture, without, write
from made_up_pairs import encoded, oulu_casia, tones

from fer_lib.data import DATASETS, check_dataset, load_dataset
from fer_lib.emotions import OULU_FOLDERS

FILES, FACES = oulu_casia()
NAME = "oulu-casia-vl-strong"
ACT = sorted({name.rpartition("/")[0] for name in FILES})[0]
PERSON, EMOTION = ACT.split("/")[-2:]


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("FER_LIB_CACHE", str(tmp_path / "cache"))


def test_six_conditions():
    names = [name for name in DATASETS if name.startswith("oulu-casia")]
    assert sorted(names) == sorted(f"oulu-casia-{camera}-{light}" for camera in ("vl", "ni") for light in ("strong", "weak", "dark"))


def test_a_fold_tests_the_same_people_in_every_light_even_where_some_are_missing(tmp_path):
    conditions = [("VL", "Strong"), ("NI", "Dark"), ("VL", "Weak")]
    trees = [oulu_casia(*condition)[0] for condition in conditions]
    trees[2] = {name: data for name, data in trees[2].items() if PERSON not in name}
    path = write(tmp_path / "set.zip", {f"B_OriginalImg/{name}": data for tree in trees for name, data in tree.items()})
    folds = []
    for camera, light in conditions:
        name, people = f"oulu-casia-{camera}-{light}".lower(), {}
        for fold in range(10):
            try:
                faces = load_dataset(name, path, "test", fold)
            except Exception as error:
                assert light == "Weak" and "shows nobody" in str(error)
                continue
            assert (faces.name, faces.classes, faces.images.shape[1:]) == (name, 7, (3, 112, 112))
            people |= dict.fromkeys(faces.subjects.tolist(), fold)
        folds.append(people)
    assert folds[0] == folds[1] and len(folds[0]) == 10
    assert folds[2].items() < folds[0].items() and len(folds[2]) == 9


def test_the_folder_of_faces_cut_out_beforehand_is_not_read(tmp_path):
    cut = {name.replace("OriginalImg", "PreProcessImg"): picture(9, (80, 80)) for name in FILES}
    faces = load_dataset(NAME, write(tmp_path / "tree", FILES | cut), "test", 2)
    assert set(tones(NAME, faces.images)) <= set(FACES)


def test_a_frame_that_is_missing_between_others_is_a_note(tmp_path):
    report = check_dataset(NAME, write(tmp_path / "tree", without(FILES, f"{ACT}/001.jpeg")))
    assert report.usable and any(f"{ACT} in" in text and "lacks 1 frame between" in text for text in report.faults)
    assert any("has 60 faces, the publication counts 1,440" in text for text in report.faults)


def test_colours_stay_in_their_order(tmp_path):
    colour = encoded(np.full((240, 320, 3), (200, 120, 30), np.uint8))
    faces = load_dataset(NAME, write(tmp_path / "tree", dict.fromkeys(FILES, colour)), "test", 0)
    for images in (faces.images, faces.neutral):
        assert images.amin((0, 2, 3)).tolist() == images.amax((0, 2, 3)).tolist() == [200, 120, 30]


NO_IMAGE, TAKE_OUT = "is no image of this dataset", "fetch it again or take it out of the list."
BAD = {
    "an unknown person": (
        {name.replace(PERSON, "P099"): data for name, data in FILES.items()},
        f"{ACT.replace(PERSON, 'P099')} in PATH: there is no person P099 (P001 to P080); give the folder its name.",
    ),
    "an unknown expression": (
        {name.replace(ACT, f"{ACT}x"): data for name, data in FILES.items()},
        f"{ACT}x in PATH: '{EMOTION}x' is no expression of Oulu-CASIA ({', '.join(OULU_FOLDERS)}); give the folder its name.",
    ),
    "no neutral frame": (
        without(FILES, f"{ACT}/000.jpeg"),
        f"{ACT} in PATH begins with frame 1, expected the neutral frame 0: complete the dataset.",
    ),
    "too few frames": (
        without(FILES, *(f"{ACT}/{k:03}.jpeg" for k in (1, 2))),
        f"{ACT} in PATH has only 3 frames, expected more than 3: complete the dataset.",
    ),
    "another size": (
        FILES | {f"{ACT}/004.jpeg": picture(3, (64, 64))},
        f"{ACT}/004.jpeg in PATH {NO_IMAGE} (it is 64x64 pixels, expected 320x240): {TAKE_OUT}",
    ),
    "another kind": (
        FILES | {f"{ACT}/003.jpeg": picture(3, (320, 240), kind="GIF")},
        f"{ACT}/003.jpeg in PATH {NO_IMAGE} (it is none of BMP, JPEG, PNG, TIFF): {TAKE_OUT}",
    ),
    "an empty class": (
        {name: data for name, data in FILES.items() if "/Fear/" not in name},
        "PATH has no face of fear after cleaning: complete the dataset, since every class needs faces.",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_tree(tmp_path, case):
    files, expected = BAD[case]
    assert_bad(NAME, write(tmp_path / "set.zip", files), expected)


def test_another_tree_and_another_condition(tmp_path):
    expected = "PATH holds no Oulu-CASIA VL/Weak: expected OriginalImg/VL/Weak/P001/Anger/000.jpeg and the like."
    assert_unlike("oulu-casia-vl-weak", write(tmp_path / "tree", FILES), expected)


def test_twice_in_one_tree(tmp_path):
    files = FILES | {f"copy/{name}": data for name, data in FILES.items()}
    expected = "PATH holds Oulu-CASIA VL/Strong more than once (OriginalImg/, copy/OriginalImg/): give one of them alone."
    assert_unlike(NAME, write(tmp_path / "set.zip", files), expected)


def test_check_lists_all_faults_at_once(tmp_path):
    other = sorted({name.rpartition("/")[0] for name in FILES})[5]
    files = without(FILES, f"{ACT}/000.jpeg") | {f"{other}/004.jpeg": b""}
    files |= {name.replace(EMOTION, "Joy").replace(PERSON, "P080"): data for name, data in FILES.items() if ACT in name}
    report = check_dataset(NAME, write(tmp_path / "tree", files))
    assert not report.usable
    for part in (f"{ACT} in", f"{other}/004.jpeg in", "'Joy' is no expression"):
        assert any(part in text for text in report.faults), part
