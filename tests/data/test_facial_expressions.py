"""facial_expressions, good and bad: who is in a picture, not who labelled it, decides its fold."""

from pathlib import Path

import pytest
from made_up import assert_bad, assert_unlike, face_of, facial_expressions, line, picture, without, write

from fer_lib.data import check_dataset, load_dataset
from fer_lib.data import facial_expressions as module
from fer_lib.emotions import NAMES

REAL = Path(__file__).parents[3] / "shared" / "data" / "facial_expressions.zip"
FILES, FACES = facial_expressions()
LIST, THIRD = module.LIST, "images/Some_Body-A_0002.jpg"
ROW = "1,Some_Body-A_0002.jpg"


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("FER_LIB_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize("name", ["tree", "set.zip"])
@pytest.mark.parametrize("top", ["", "facial_expressions-master/"])
def test_every_person_is_tested_once(tmp_path, name, top):
    path, tested = write(tmp_path / name, {top + file: data for file, data in FILES.items()}), []
    for fold in range(10):
        splits = {split: load_dataset("facial_expressions", path, split, fold) for split in ("train", "val", "test")}
        people = [set(faces.subjects.tolist()) for faces in splits.values()]
        assert sum(map(len, people)) == len(set.union(*people)) == 12
        for split, faces in splits.items():
            assert (faces.name, faces.split, faces.classes) == ("facial_expressions", split, 8)
            assert faces.images.shape[1:] == (1, 128, 128)
            assert faces.labels.tolist() == [FACES[face] for face in face_of(faces.images)]
            assert faces.subjects.tolist() == [face // 8 for face in face_of(faces.images)]
        tested += face_of(splits["test"].images)
    assert sorted(tested) == list(range(96))


@pytest.mark.parametrize(
    ("image", "person"),
    {
        "Aaron_Eckhart_0001.jpg": "aaron_eckhart",
        "Roh_Moo-hyun_0012.jpg": "roh_moo-hyun",
        "Luiz_Inacio_Lula_da_Silva_0003.jpg": "luiz_inacio_lula_da_silva",
        "Avinash_10.jpg": "avinash",
        "Steve-O_0001.JPG": "steve-o",
        "facial-expressions_2868584k.jpg": "facial-expressions",
        "portrait.jpg": "portrait",
        "no_extension_0001": "no_extension",
    }.items(),
)
def test_who_is_in_a_picture(image, person):
    assert module._person(image) == person


def test_one_file_under_two_names_makes_one_person(tmp_path):
    twins = {f"images/Some_Body-{who}_{8 * k:04d}.jpg": FILES[THIRD] for k, who in enumerate("ABC")}
    files = FILES | twins
    report = check_dataset("facial_expressions", write(tmp_path / "tree", files))
    (said,) = report.faults
    assert report.usable and "are the same file under names of several people" in said
    assert report.rows == {"all": 96}
    for fold in range(10):
        faces = load_dataset("facial_expressions", tmp_path / "tree", "test", fold)
        found = set(face_of(faces.images))
        assert not found & {1, 9, 17} or {1, 9, 17} <= found, "the three people are in one fold"
        assert len(set(faces.subjects[[face in (1, 9, 17) for face in face_of(faces.images)]].tolist())) < 2


def test_words_may_be_capitals_and_the_header_may_be_missing(tmp_path):
    lines = FILES[LIST].decode().upper().replace("SOME_BODY", "Some_Body").replace(".JPG", ".jpg").split("\n")
    files = FILES | {LIST: "\r\n".join(lines[1:]).encode()}
    assert check_dataset("facial_expressions", write(tmp_path / "tree", files)).rows == {"all": 96}


BAD = {
    "an unknown emotion": (
        line(FILES, LIST, 4, f"{ROW},bored"),
        f"{LIST} in PATH, line 4: 'bored' is no emotion of this list ({', '.join(module.FACIAL_EXPRESSIONS_WORDS)}); "
        "correct it.",
    ),
    "a column too few": (
        line(FILES, LIST, 4, ROW),
        f"{LIST} in PATH, line 4: 2 columns, expected user.id,image,emotion; fetch the list again.",
    ),
    "a picture listed twice": (
        line(FILES, LIST, 4, "1,Some_Body-A_0001.jpg,anger"),
        f"{LIST} in PATH, line 4: Some_Body-A_0001.jpg is listed a second time; keep one of the two rows.",
    ),
    "an absent picture": (without(FILES, THIRD), f"PATH has no {THIRD}: complete the dataset."),
    "a picture outside": (
        line(FILES, LIST, 4, "1,../../x_1.jpg,fear"),
        "PATH has no images/../../x_1.jpg: complete the dataset.",
    ),
    "a bomb": (
        FILES | {THIRD: picture(0, (9000, 9000), "L")},
        f"{THIRD} in PATH is no image of this dataset (it is 9000x9000 pixels, more than a face can need): "
        "fetch it again or take it out of the list.",
    ),
    "an empty class": (
        FILES | {LIST: FILES[LIST].replace(b"fear", b"anger")},
        "PATH (all) has no face of fear after cleaning: complete the dataset, since every class needs faces.",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_tree(tmp_path, case):
    files, expected = BAD[case]
    assert_bad("facial_expressions", write(tmp_path / "tree", files), expected)


def test_another_tree(tmp_path):
    expected = f"PATH holds no facial_expressions: expected {module._FacialExpressions.expected}."
    assert_unlike("facial_expressions", write(tmp_path / "tree", without(FILES, LIST)), expected)


def test_check_lists_all_faults_at_once(tmp_path):
    files = line(line(without(FILES, THIRD), LIST, 3, "1,2"), LIST, 6, "1,Some_Body-A_0004.jpg,glad")
    report = check_dataset("facial_expressions", write(tmp_path / "tree", files))
    told = "\n".join(report.faults)
    for part in ("line 3: 2 columns", "line 6: 'glad'", f"has no {THIRD}", "2 pictures in"):
        assert part in told
    assert len([text for text in report.faults if "in fold" not in text]) == 4 and not report.usable


@pytest.mark.skipif(not REAL.exists(), reason="the real zip is not here")
def test_the_real_zip():
    report = check_dataset("facial_expressions", REAL)
    assert report.usable and report.rows == {"all": 10_711}
    assert dict(report.counts["all"]) == dict(zip(NAMES, [5_372, 4_439, 295, 207, 214, 161, 15, 8], strict=True))
    told = "\n".join(report.faults)
    assert "Bart_Hendricks_0001.jpg and images/Ricky_Ray_0001.jpg" in told
    assert "no face of contempt in fold" in told and "no face of fear in fold" in told
