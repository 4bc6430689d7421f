"""MMI: sessions that are left out, views, and bad trees."""

import numpy as np
import pytest
from made_up import assert_bad, assert_unlike, picture, without, write
from made_up_pairs import encoded, metatags, mmi

from fer_lib.data import check_dataset, load_dataset
from fer_lib.data.archive import Archive
from fer_lib.data.mmi import _MMI

FILES, FACES = mmi()
SESSION, STEM = "Sessions/100", "Sessions/100/S028-001"
FRAMES = [f"{STEM}_{k}.png" for k in range(7, 14)]


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("FER_LIB_CACHE", str(tmp_path / "cache"))


def test_other_emotions_and_profiles_are_left_out_and_counted(tmp_path):
    report = check_dataset("mmi", write(tmp_path / "tree", FILES))
    assert report.removed == {"all": {"no basic emotion": 3, "profile only": 3}} and report.rows == {"all": 66}
    assert report.usable


def test_no_metatag_is_no_emotion(tmp_path):
    files = FILES | {f"{STEM}.xml": b"<AnnotationData/>"}
    assert check_dataset("mmi", write(tmp_path / "tree", files)).removed["all"]["no basic emotion"] == 6


VIEWS = {
    "S001": "the right half",
    "S003": "the left half",
    "S030": "turned clockwise: what was below is left",
    "S053": "as it is",
}


@pytest.mark.parametrize("person", VIEWS)
def test_the_front_stands_upright_in_the_middle(tmp_path, person):
    """A picture 90 wide and 60 high with four tones: 10 and 20 above, 30 and 40 below."""
    wide = np.zeros((60, 90, 3), np.uint8)
    wide[:30, :45], wide[:30, 45:], wide[30:, :45], wide[30:, 45:] = 10, 20, 30, 40
    files = {f"Sessions/1/{person}-001_{k}.png": encoded(wide) for k in range(4)}
    with Archive(write(tmp_path / "tree", files | {f"Sessions/1/{person}-001.xml": metatags(1)})) as archive:
        album = _MMI(archive)
        album.shots()
        pixels = album.read(encoded(wide), f"Sessions/1/{person}-001_2.png")[0]
    corners = pixels[[5, 5, -5, -5], [5, -5, 5, -5]].tolist()
    expected = {"S001": [20, 20, 40, 40], "S003": [10, 10, 30, 30], "S030": [30, 10, 40, 20], "S053": [10, 20, 30, 40]}
    assert corners == expected[person]
    with Archive(tmp_path / "tree") as archive:
        album = _MMI(archive)
        album.shots()
        high = album.read(encoded(wide.transpose(1, 0, 2)), f"Sessions/1/{person}-001_2.png")[0]
    assert high[[5, 5, -5, -5], [5, -5, 5, -5]].tolist() == [10, 30, 20, 40], "who is upright already is not turned"


def test_colours_stay_in_their_order(tmp_path):
    colour = np.full((48, 36, 3), (200, 120, 30), np.uint8)
    files = {name: encoded(colour) if name.endswith(".png") else data for name, data in FILES.items()}
    faces = load_dataset("mmi", write(tmp_path / "tree", files), "test", 0)
    for images in (faces.images, faces.neutral):
        assert images.amin((0, 2, 3)).tolist() == images.amax((0, 2, 3)).tolist() == [200, 120, 30]


BAD = {
    "a video alone": (
        without(FILES, *FRAMES),
        f"{SESSION} in PATH has 0 frames, expected more than 3: "
        "export them in its folder with ffmpeg -i S028-001.avi S028-001_%05d.png.",
    ),
    "too few frames and no video": (
        without(FILES, *FRAMES[3:], f"{STEM}.avi"),
        f"{SESSION} in PATH has 3 frames, expected more than 3: export them in its folder with ffmpeg from its video.",
    ),
    "no label": (
        without(FILES, f"{STEM}.xml"),
        f"{SESSION} in PATH has 0 files like S002-106.xml, expected one: complete the session, or take it out.",
    ),
    "two labels": (
        FILES | {f"{SESSION}/S028-002.xml": metatags(1)},
        f"{SESSION} in PATH has 2 files like S002-106.xml, expected one: complete the session, or take it out.",
    ),
    "no number": (
        FILES | {f"{STEM}.xml": metatags("joy")},
        f"{STEM}.xml in PATH gives no emotion (invalid literal for int() with base 10: 'joy'): fetch the file again.",
    ),
    "a broken label": (
        FILES | {f"{STEM}.xml": b"<AnnotationData"},
        f"{STEM}.xml in PATH gives no emotion (unclosed token: line 1, column 0): fetch the file again.",
    ),
    "a bomb in a label": (
        FILES | {f"{STEM}.xml": b'<!DOCTYPE a [<!ENTITY b "cc">]><a>&b;</a>'},
        f"{STEM}.xml in PATH gives no emotion (it defines entities): fetch the file again.",
    ),
    "a truncated frame": (
        FILES | {FRAMES[3]: FILES[FRAMES[3]][:60]},
        f"{FRAMES[3]} in PATH is no image of this dataset (image file is truncated): "
        "fetch it again or take it out of the list.",
    ),
    "an empty class": (
        {name: data if data != metatags(3) else metatags(7) for name, data in FILES.items()},
        "PATH has no face of fear after cleaning: complete the dataset, since every class needs faces.",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_tree(tmp_path, case):
    files, expected = BAD[case]
    assert_bad("mmi", write(tmp_path / "set.zip", files), expected)


def test_another_tree(tmp_path):
    files = {"Sessions/1/session.xml": b"", "Sessions/1/1.png": picture(1, (8, 8))}
    assert_unlike("mmi", write(tmp_path / "tree", files), f"PATH holds no MMI: expected {_MMI.expected}.")


def test_check_lists_all_faults_at_once(tmp_path):
    files = without(FILES, *FRAMES) | {"Sessions/104/S028-002.xml": b"", "Sessions/108/S029-003_10.png": b""}
    report = check_dataset("mmi", write(tmp_path / "tree", files))
    assert not report.usable
    for part in ("ffmpeg -i S028-001.avi", "Sessions/104/S028-002.xml in", "Sessions/108/S029-003_10.png in"):
        assert any(part in text for text in report.faults), part
    assert len(load_dataset("mmi", write(tmp_path / "good", FILES), "test", 0)) == 6
