"""The London Set: pairs aligned by their eyes, bad trees, and the real one where it is at hand."""

from pathlib import Path

import pytest
import torch
from made_up import FILES as Files
from made_up import assert_bad, assert_unlike, line, picture, without, write
from made_up_pairs import SHIFT, encoded, london, portrait, template

from fer_lib.data import check_dataset, load_dataset
from fer_lib.data.align import TEMPLATE, eye_centres
from fer_lib.data.london import _London

REAL = Path(__file__).parents[3] / "shared" / "data" / "london"
FILES, FACES = london()
LIST, MARKS = "london_info.csv", "neutral_front/001_03.tem"
NEUTRAL, SMILING = "neutral_front/001_03.jpg", "smiling_front/001_08.jpg"


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("FER_LIB_CACHE", str(tmp_path / "cache"))


def eyes_of(faces) -> torch.Tensor:
    return eye_centres(faces.landmarks[~faces.landmarks.isnan().any(-1).any(-1)])


def test_neutral_and_smiling_face_coincide_but_for_the_smile(tmp_path):
    faces = load_dataset("london", write(tmp_path / "tree", FILES), "train", 0)
    assert faces.classes == 8 and set(faces.labels.tolist()) == {0, 1}
    assert (eyes_of(faces) - torch.tensor(TEMPLATE, dtype=torch.float64) * 112 + 0.5).abs().max() < 0.01
    smiling = faces.labels == 1
    assert faces.landmarks[smiling].isnan().all() and not faces.landmarks[~smiling].isnan().any()
    assert torch.equal(faces.images[~smiling], faces.neutral[~smiling])
    assert torch.equal(faces.landmarks[~smiling], faces.neutral_landmarks[~smiling])
    assert not faces.neutral_landmarks.isnan().any()
    above = (faces.images[smiling].int() - faces.neutral[smiling].int())[:, :, 10:60, 10:100]
    assert above.abs().float().mean() < 2, "the eyes are not where they were"
    assert (faces.images[smiling, 0, 84, 56] == 255).all() and (faces.images[:, 2] == faces.images[:, 2, :1, :1]).all()


def test_colours_stay_in_their_order(tmp_path):
    faces = load_dataset("london", write(tmp_path / "tree", FILES), "test", 1)
    red, green, blue = faces.images.float().mean((2, 3)).unbind(1)
    assert (red > 1.5 * green).all() and (blue <= 12).all()


def test_a_smiling_picture_with_landmarks_is_aligned_by_them(tmp_path):
    own = {"smiling_front/001_08.tem": template((45 + SHIFT[0], 50 + SHIFT[1]), (75 + SHIFT[0], 51 + SHIFT[1]))}
    path = write(tmp_path / "tree", FILES | own)
    known = [load_dataset("london", path, "test", fold) for fold in range(10)]
    rows = [faces.landmarks[(faces.labels == 1) & (faces.subjects == 0)] for faces in known]
    assert sum(map(len, rows)) == 1 and not torch.cat(rows).isnan().any()


def test_a_list_is_not_needed(tmp_path):
    report = check_dataset("london", write(tmp_path / "tree", without(FILES, LIST)))
    assert report.usable and len(report.faults) == 1 and f"has no {LIST}: add it" in report.faults[0]
    report = check_dataset("london", write(tmp_path / "shorter", line(FILES, LIST, 5, "")))
    assert report.usable and f"1 person is not in {LIST}" in report.faults[0] and "list 004" in report.faults[0]


def test_a_template_may_begin_with_a_mark_of_its_encoding(tmp_path):
    report = check_dataset("london", write(tmp_path / "tree", FILES | {MARKS: b"\xef\xbb\xbf" + FILES[MARKS]}))
    assert report.usable and report.faults == ()


NO_IMAGE, TAKE_OUT = "is no image of this dataset", "fetch it again or take it out of the list."
BAD: dict[str, tuple[Files, str]] = {
    "a list that names somebody absent": (
        without(FILES, SMILING),
        f"PATH has no {SMILING}: complete the dataset, or take 001 out altogether.",
    ),
    "nobody at all": (
        line(FILES, LIST, 13, "099,30,male,west_asian"),
        "PATH has no neutral_front/099_03.jpg and no smiling_front/099_08.jpg: "
        "complete the dataset, or take 099 out altogether.",
    ),
    "a line of garbage": (
        line(FILES, LIST, 3, "xy,30"),
        f"{LIST} in PATH, line 3: 'xy' is no number of a person (001 ...); fetch the list again.",
    ),
    "somebody twice": (
        line(FILES, LIST, 3, "001,30"),
        f"{LIST} in PATH, line 3: 001 is listed a second time; keep one of the two rows.",
    ),
    "no template": (without(FILES, MARKS), f"PATH has no {MARKS}: complete the dataset."),
    "another template": (
        FILES | {MARKS: template(points=68)},
        f"{MARKS} in PATH gives 68 points, expected 189; fetch the file again.",
    ),
    "a truncated template": (
        FILES | {MARKS: template()[:310]},
        f"{MARKS} in PATH gives 26 points, expected 189; fetch the file again.",
    ),
    "a point that is none": (
        FILES | {MARKS: template().replace(b"45.00\t50.00", b"45.00")},
        f"{MARKS} in PATH, line 2: '45.00' is no point (x and y); fetch the file again.",
    ),
    "a template of the picture at another size": (
        FILES | {MARKS: template((112, 125), (187, 127))},
        f"{NEUTRAL} in PATH {NO_IMAGE} (its landmarks put an eye outside its 120x120 pixels): {TAKE_OUT}",
    ),
    "eyes exchanged": (
        FILES | {MARKS: template((75, 51), (45, 50))},
        f"{MARKS} in PATH has its left eye right of the right one; left means left in the picture: exchange them.",
    ),
    "pictures of two sizes": (
        FILES | {SMILING: encoded(portrait(1)[:100, :110])},
        f"{SMILING} in PATH {NO_IMAGE} (it is 110x100 pixels, its neutral twin 120x120): {TAKE_OUT}",
    ),
    "a grey picture": (
        FILES | {SMILING: picture(1, (120, 120), "L")},
        f"{SMILING} in PATH {NO_IMAGE} (its mode is L, expected RGB): {TAKE_OUT}",
    ),
    "a picture without face": (
        FILES | {SMILING: picture(1, (120, 120))},
        f"{SMILING} in PATH {NO_IMAGE} (the eyes of {NEUTRAL} are not found in it): {TAKE_OUT}",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_tree(tmp_path, case):
    files, expected = BAD[case]
    assert_bad("london", write(tmp_path / "set.zip", files), expected)


def test_another_tree(tmp_path):
    for k, files in enumerate(({"neutral_front/001_03.jpg": b""}, {"a/b.png": b""})):
        assert_unlike("london", write(tmp_path / str(k), files), f"PATH holds no {_London.title}: expected {_London.expected}.")


def test_check_lists_all_faults_at_once(tmp_path):
    files = without(FILES, SMILING, "neutral_front/002_03.tem") | {"neutral_front/003_03.jpg": b"", LIST: FILES[LIST] + b"\nxy"}
    report = check_dataset("london", write(tmp_path / "tree", files))
    assert not report.usable
    for part in (SMILING, "002_03.tem", "003_03.jpg in", "'xy' is no number"):
        assert any(part in text for text in report.faults), part


@pytest.mark.skipif(not REAL.exists(), reason="the real London Set is not here")
def test_the_real_set_has_82_pairs_with_eyes_on_the_template():
    report = check_dataset("london", REAL)
    assert report.usable and report.faults == () and report.rows == {"all": 164}
    assert report.counts["all"]["neutral"] == report.counts["all"]["happiness"] == 82
    people = set()
    for fold in range(10):
        faces = load_dataset("london", REAL, "test", fold)
        assert (eyes_of(faces) - torch.tensor(TEMPLATE, dtype=torch.float64) * 112 + 0.5).abs().max() < 0.01
        assert not people & set(faces.subjects.tolist())
        people |= set(faces.subjects.tolist())
    assert len(people) == 82
