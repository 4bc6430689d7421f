"""CK+: what is left out, neutral faces of their own, and bad trees."""

import numpy as np
import pytest
import torch
from made_up import assert_bad, assert_unlike, picture, without, write
from made_up_pairs import ckplus, encoded, marks, tones

from fer_lib.data import check_dataset, load_dataset
from fer_lib.data.align import TEMPLATE, eye_centres
from fer_lib.data.archive import Archive
from fer_lib.data.ckplus import _CKPlus

FILES, FACES = ckplus()
ACT = "S005/001/S005_001_0000000"
LABEL, FIRST, LAST = f"Emotion/{ACT}5_emotion.txt", f"cohn-kanade-images/{ACT}1.png", f"cohn-kanade-images/{ACT}5.png"
POINTS = f"Landmarks/{ACT}4_landmarks.txt"


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("FER_LIB_CACHE", str(tmp_path / "cache"))


def test_as_the_archives_unpack_and_eyes_on_the_template(tmp_path):
    places = {"cohn-kanade-images": "extended-cohn-kanade-images/", "Emotion": "Emotion_labels/", "Landmarks": "Landmarks/"}
    files = {f"ck/{places[name.partition('/')[0]]}{name}": data for name, data in FILES.items()}
    faces = load_dataset("ckplus", write(tmp_path / "set.zip", files), "train", 3)
    assert (faces.images.shape[1:], faces.classes) == ((1, 112, 112), 8)
    for points in (faces.landmarks, faces.neutral_landmarks):
        assert torch.allclose(eye_centres(points), torch.tensor(TEMPLATE, dtype=torch.float64) * 112 - 0.5, atol=0.01)


def test_what_has_no_label_is_left_out_and_counted(tmp_path):
    report = check_dataset("ckplus", write(tmp_path / "tree", FILES))
    assert report.rows == {"all": 63} and report.removed == {"all": {"no label": 3}} and report.usable
    assert report.counts["all"]["neutral"] == 0 and report.counts["all"]["contempt"] == 9
    assert any("has 60 faces, the publication counts 981" in text for text in report.faults)
    assert any("No face of contempt is in fold" in text for text in report.faults)


def test_the_first_frames_can_be_neutral_faces(tmp_path):
    path = write(tmp_path / "tree", FILES)
    report = check_dataset("ckplus-neutral", path)
    assert report.counts["all"] == check_dataset("ckplus", path).counts["all"] | {"neutral": 20}
    faces, plain = (load_dataset(name, path, "test", 4) for name in ("ckplus-neutral", "ckplus"))
    neutral = faces.labels == 0
    assert torch.equal(faces.images[neutral], faces.neutral[neutral])
    assert sorted(tones("ckplus", faces.images[~neutral])) == sorted(tones("ckplus", plain.images))


def test_the_published_counts(tmp_path):
    """327 sequences of 118 people, by Lucey et al.'s table, as names and labels alone."""
    counts = {1: 45, 2: 18, 3: 59, 4: 25, 5: 69, 6: 28, 7: 83}
    files = {}
    for act, number in enumerate(number for number, many in counts.items() for _ in range(many)):
        name = f"S{act % 118:03}/{act // 118 + 1:03}"
        stem = f"{name}/{name.replace('/', '_')}_"
        files |= {f"cohn-kanade-images/{stem}{k:08}.png": b"" for k in range(1, 7)}
        files |= {f"Landmarks/{stem}{k:08}_landmarks.txt": marks() for k in (1, 4, 5, 6)}
        files[f"Emotion/{stem}{6:08}_emotion.txt"] = f"   {number:.7e}\n".encode()
    with Archive(write(tmp_path / "set.zip", files)) as archive:
        shots = _CKPlus(archive).shots()
    labels = np.bincount([row.label for row in shots.rows], minlength=8).tolist()
    assert len(shots.rows) == 981 and labels == [3 * n for n in (0, 69, 83, 28, 45, 59, 25, 18)]


def test_colour_and_grey_frames_are_read_alike(tmp_path):
    path = write(tmp_path / "tree", FILES | {f"cohn-kanade-images/{ACT}4.png": encoded(np.full((48, 64, 3), 2, np.uint8))})
    shown = [face for fold in range(10) for face in tones("ckplus", load_dataset("ckplus", path, "test", fold).images)]
    assert sorted(shown) == sorted(FACES)


def test_texts_may_begin_with_a_mark_of_their_encoding(tmp_path):
    files = FILES | {name: b"\xef\xbb\xbf" + FILES[name] for name in (LABEL, POINTS)}
    assert check_dataset("ckplus", write(tmp_path / "tree", files)).counts == check_dataset(
        "ckplus", write(tmp_path / "plain", FILES)
    ).counts
    assert load_dataset("ckplus", tmp_path / "tree", "train").landmarks.isfinite().all()


NO_IMAGE, TAKE_OUT = "is no image of this dataset", "fetch it again or take it out of the list."
BAD = {
    "a label that is none": (
        FILES | {LABEL: b"   9.0000000e+00\n"},
        f"{LABEL} in PATH says '9.0000000e+00', no number of an emotion (1 to 7); fetch the file again.",
    ),
    "a label of no text": (
        FILES | {LABEL: b"\xff\xfe3"},
        f"{LABEL} in PATH says '\ufffd\ufffd3', no number of an emotion (1 to 7); fetch the file again.",
    ),
    "two labels": (
        FILES | {LABEL.replace("5_emotion", "4_emotion"): FILES[LABEL]},
        f"PATH has {LABEL.replace('5_emotion', '4_emotion')} and {LABEL}: keep the one of the last frame.",
    ),
    "no neutral frame": (without(FILES, FIRST), "PATH has no S005_001_00000001.png: complete the dataset."),
    "no peak": (without(FILES, LAST), "PATH has no S005_001_00000005.png: complete the dataset."),
    "too few frames": (
        without(FILES, *(f"cohn-kanade-images/{ACT}{k}.png" for k in (2, 3))),
        "PATH has only 3 pictures of S005/001, expected more than 3: complete the dataset.",
    ),
    "no landmarks": (without(FILES, POINTS), f"PATH has no {POINTS}: complete the dataset."),
    "67 landmarks": (
        FILES | {POINTS: FILES[POINTS].split(b"\n", 1)[1]},
        f"{POINTS} in PATH gives 67 points, expected 68; fetch the file again.",
    ),
    "a landmark that is none": (
        FILES | {POINTS: FILES[POINTS].replace(b"3.0000000e+01   4.0000000e+01", b"3.0000000e+01 nan", 1)},
        f"{POINTS} in PATH, line 49: '3.0000000e+01 nan' is no point (x and y); fetch the file again.",
    ),
    "both eyes at one place": (
        FILES | {POINTS: marks((20, 20), (20, 20))},
        f"{POINTS} in PATH has both eyes at one place: mark them anew, or leave it out.",
    ),
    "eyes exchanged": (
        FILES | {POINTS: marks((40, 21), (20, 20))},
        f"{POINTS} in PATH has its left eye right of the right one; left means left in the picture: exchange them.",
    ),
    "a picture too small for its landmarks": (
        FILES | {LAST: picture(3, (30, 30), "L")},
        f"{LAST} in PATH {NO_IMAGE} (its landmarks put an eye outside its 30x30 pixels): {TAKE_OUT}",
    ),
    "a truncated picture": (
        FILES | {LAST: FILES[LAST][:50]},
        f"{LAST} in PATH {NO_IMAGE} (image file is truncated): {TAKE_OUT}",
    ),
    "an empty class": (
        {name: data for name, data in FILES.items() if b" 2.00" not in data or not name.startswith("Emotion")},
        "PATH has no face of contempt after cleaning: complete the dataset, since every class needs faces.",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_tree(tmp_path, case):
    files, expected = BAD[case]
    assert_bad("ckplus", write(tmp_path / "set.zip", files), expected)


def test_another_tree_and_the_48_pixel_export(tmp_path):
    files = {"CK+48/anger/S010_004_00000017.png": picture(1, (48, 48), "L")}
    assert_unlike("ckplus", write(tmp_path / "tree", files), f"PATH holds no CK+: expected {_CKPlus.expected}.")


def test_twice_in_one_tree(tmp_path):
    files = FILES | {f"copy/{name}": data for name, data in FILES.items()}
    expected = "PATH holds CK+ more than once (the top, copy/): give one of them alone."
    assert_unlike("ckplus", write(tmp_path / "set.zip", files), expected)


def test_check_lists_all_faults_at_once(tmp_path):
    other = "S005/002/S005_002_0000000"
    files = without(FILES, POINTS) | {LABEL: b"x", LAST: b"", f"Landmarks/{other}1_landmarks.txt": b"1 2"}
    report = check_dataset("ckplus", write(tmp_path / "tree", files | {"cohn-kanade-images/S010/001/S010_001_00000001.png": b"GIF"}))
    assert not report.usable
    for part in (POINTS, LABEL, f"Landmarks/{other}1_landmarks.txt", "S010_001_00000001.png in"):
        assert any(part in text for text in report.faults), part
