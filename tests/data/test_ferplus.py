"""FERPlus in its three forms, good and bad, and the real zip where it is at hand."""

import csv
import io
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fer_lib.data import check_dataset, ferplus, load_dataset
from fer_lib.emotions import FERPLUS_COLUMNS, NAMES, Emotion
from fer_lib.errors import FerError

REAL = Path(__file__).parents[3] / "shared" / "data" / "ferplus.zip"
FOLDER, USAGE = ferplus.FOLDERS, ferplus.USAGES

# One row a class, in the columns' order, then what cleaning removes and what it keeps.
VOTES = [[8 if i == k else 1 if i == (k + 1) % 8 else 0 for i in range(10)] for k in range(8)] + [
    [4, 4, 2, 0, 0, 0, 0, 0, 0, 0],
    [0, 5, 0, 0, 0, 0, 0, 0, 5, 0],
    [2, 0, 0, 0, 0, 0, 0, 0, 8, 0],
    [0, 0, 0, 0, 0, 0, 0, 0, 1, 9],
    [0, 0, 0, 4, 3, 3, 0, 0, 0, 0],
    [0, 0, 0, 0, 4, 2, 0, 0, 2, 1],
]
KEPT = [*range(8), 12, 13]
FILES = dict[str, bytes]


def lines(rows: list[list]) -> bytes:
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerows(rows)
    return stream.getvalue().encode()


def faces(split: str) -> np.ndarray:
    return np.random.default_rng(len(split)).integers(0, 256, (len(VOTES), 48, 48), np.uint8)


def export(top="", box=True) -> FILES:
    files = {}
    for split in ("train", "val"):
        folder, names = f"{top}{FOLDER[split]}", [f"fer{i:07d}.png" for i in range(len(VOTES))]
        files |= {f"{folder}/{name}": png(face) for name, face in zip(names, faces(split), strict=True)}
        middle = ["(0, 0, 48, 48)"] if box else []
        files[f"{folder}/label.csv"] = lines([[n, *middle, *v] for n, v in zip(names, VOTES, strict=True)])
    return files


def pair(top="", blank=0) -> FILES:
    pixels, votes = [["emotion", "pixels", "Usage"]], [["Usage", "Image name", *FERPLUS_COLUMNS]]
    for split in ("train", "val"):
        for i, face in enumerate(faces(split)):
            pixels.append([0, " ".join(map(str, face.flatten())), USAGE[split]])
            votes.append([USAGE[split], f"fer{i:07d}.png", *VOTES[i]])
        for _ in range(blank):
            pixels.append([0, " ".join(["0"] * 2304), USAGE[split]])
            votes.append([USAGE[split], "", *[0] * 10])
    return {f"{top}fer2013.csv": lines(pixels), f"{top}fer2013new.csv": lines(votes)}


def write(path: Path, files: FILES) -> Path:
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            for name, data in files.items():
                archive.writestr(name, data)
        return path
    for name, data in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data)
    return path


def png(pixels: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("FER_LIB_CACHE", str(tmp_path / "cache"))


FORMS = {
    "folder": ("tree", export()),
    "folder in a folder": ("tree", export(top="ferplus/")),
    "list without boxes": ("tree", export(box=False)),
    "zip": ("set.zip", export() | {"__MACOSX/FER2013Train/._fer0000000.png": b""}),
    "zip with a folder": ("set.zip", export(top="data/")),
    "pair": ("tree", pair(blank=2)),
    "pair in a zip": ("set.zip", pair(top="data/")),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("split", ["train", "val"])
def test_every_form_gives_the_same_faces(tmp_path, form, split):
    name, files = FORMS[form]
    found = load_dataset("ferplus", write(tmp_path / name, files), split)
    folder = load_dataset("ferplus", write(tmp_path / "plain", export()), split)
    assert torch.equal(found.images[:, 0], torch.from_numpy(faces(split)[KEPT]))
    assert found.labels.tolist() == [*range(8), Emotion.SADNESS, Emotion.ANGER]
    assert (found.name, found.split, found.classes) == ("ferplus", split, 8)
    assert torch.equal(found.votes, folder.votes)
    assert found.fingerprint == folder.fingerprint


def test_votes_and_majority_leave_out_single_votes(tmp_path):
    path = write(tmp_path / "tree", export())
    votes = ferplus.load(path, "train").votes
    assert torch.equal(votes[:8], torch.eye(8))
    assert torch.allclose(votes[8], torch.tensor([0, 0, 0, 0.4, 0.3, 0.3, 0, 0]))
    assert torch.allclose(votes[9], torch.tensor([0, 0, 0, 0, 4 / 6, 2 / 6, 0, 0]))
    assert ferplus.load(path, "train").clear.tolist() == [True] * 8 + [False, False]


def test_the_second_call_reads_the_cache_and_a_changed_list_does_not(tmp_path, monkeypatch):
    files = export()
    path = write(tmp_path / "tree", files)
    first = ferplus.load(path, "train")
    monkeypatch.setattr(ferplus, "decode", None)
    assert torch.equal(ferplus.load(path, "train").images, first.images)
    write(path, {"FER2013Train/label.csv": files["FER2013Train/label.csv"] + b"\n"})
    with pytest.raises(TypeError):
        ferplus.load(path, "train")


def test_check_counts_and_prints_a_table(tmp_path):
    report = check_dataset("ferplus", write(tmp_path / "tree", pair(blank=2)))
    assert report.rows == {"train": 16, "val": 16}
    assert report.removed["val"] == {"no image name": 2, "tied": 2, "no emotion": 2}
    assert report.counts["train"] == dict.fromkeys(NAMES, 1) | {"sadness": 2, "anger": 2}
    assert report.usable and len(report.faults) == 1
    assert str(report).splitlines()[1:8] == [
        "                    train      val",
        "rows in the list       16       16",
        "  no image name         2        2",
        "  tied                  2        2",
        "  no emotion            2        2",
        "faces kept             10       10",
        "  neutral               1        1",
    ]


def line(files: FILES, number: int, text: str, name="FER2013Train/label.csv") -> FILES:
    rows = files[name].decode().split("\n")
    rows[number - 1] = text
    return files | {name: "\n".join(rows).encode()}


def without(files: FILES, name: str) -> FILES:
    return {key: data for key, data in files.items() if key != name}


ROW = "fer0000002.png,box,1,2"
NINE = "Training,fer0000001.png,0,9,0,0,0,0,0,0,0"
LIST, PAIR, CORRUPT = "FER2013Train/label.csv", "fer2013new.csv", "FER2013Train/fer0000004.png"
AGAIN, ANEW = "fetch both files again.", "fetch the list again."
NO_VOTE = f"is no number of votes; {ANEW}"
NO_IMAGE, TAKE_OUT = "is no image of this dataset", "fetch it again or take it out of the list."

# What is wrong: the files, and the sentence that both load and check must say.
BAD = {
    "missing list": (without(export(), LIST), f"PATH has no {LIST}: add the list from the export."),
    "columns": (line(export(), 3, ROW), f"{LIST} in PATH, line 3: 4 columns, expected 11 or 12; {ANEW}"),
    "no number": (line(export(), 3, f"{ROW},x,0,0,0,0,0,0,0"), f"{LIST} in PATH, line 3: 'x' {NO_VOTE}"),
    "absurd": (line(export(), 3, f"{ROW},99999,0,0,0,0,0,0,0"), f"{LIST} in PATH, line 3: '99999' {NO_VOTE}"),
    "an image listed twice": (
        line(export(), 3, "fer0000001.png,0,8,0,0,0,0,0,0,0,0"),
        f"{LIST} in PATH, line 3: fer0000001.png is listed a second time; keep one of the two rows.",
    ),
    "an absent image": (without(export(), CORRUPT), f"PATH has no {CORRUPT}: complete the dataset."),
    "an image outside": (
        line(export(), 3, "../../x.png,0,0,8,0,0,0,0,0,0,0"),
        "PATH has no FER2013Train/../../x.png: complete the dataset.",
    ),
    "a corrupt image": (
        export() | {CORRUPT: export()[CORRUPT][:99]},
        f"{CORRUPT} in PATH {NO_IMAGE} (image file is truncated): {TAKE_OUT}",
    ),
    "an image of another size": (
        export() | {CORRUPT: png(np.zeros((40, 48), np.uint8))},
        f"{CORRUPT} in PATH {NO_IMAGE} (it is 48x40 pixels, expected 48x48): {TAKE_OUT}",
    ),
    "an empty class": (
        line(export(), 7, "fer0000006.png,0,0,0,0,0,0,0,0,9,0"),
        "PATH (train) has no face of fear after cleaning: complete the dataset, "
        "since every class needs faces.",
    ),
    "pair: Usage": (
        line(pair(), 3, f"x{NINE},0", PAIR),
        f"{PAIR} in PATH, line 3: Usage is 'xTraining', not one of FER2013's; {ANEW}",
    ),
    "pair: no number": (line(pair(), 3, f"{NINE},1.5", PAIR), f"{PAIR} in PATH, line 3: '1.5' {NO_VOTE}"),
    "pair: a pixel over 255": (
        line(pair(), 3, "0," + " ".join(["256"] * 2304) + ",Training", "fer2013.csv"),
        f"fer2013.csv in PATH, line 3 is no 48x48 image (bytes must be in range(0, 256)): {AGAIN}",
    ),
    "pair: rows that do not match": (
        line(pair(), 3, "0," + " ".join(["1"] * 2304) + ",PublicTest", "fer2013.csv"),
        "fer2013.csv in PATH, line 3 is no 48x48 image "
        f"(its Usage is 'PublicTest', {PAIR} says 'Training'): {AGAIN}",
    ),
    "pair: too few rows of pixels": (
        pair() | {"fer2013.csv": b"\n".join(pair()["fer2013.csv"].split(b"\n")[:9])},
        f"fer2013.csv in PATH, line 14 is missing, while {PAIR} has it: {AGAIN}",
    ),
}
UNLIKE = f"PATH holds no FERPlus: expected {ferplus.EXPECTED}."
LIKE_NOTHING = {
    "another dataset": ({"images/1.png": b""}, UNLIKE),
    "half of the pair": (without(pair(), PAIR), UNLIKE),
    "pair: no header": (
        pair() | {PAIR: b"Training,fer0000001.png,0\n"},
        f"{PAIR} in PATH, line 1: no column 'Usage'; fetch the file with its header line again.",
    ),
}


def message(error, path: Path) -> str:
    return str(error.value).replace(str(path), "PATH")


@pytest.mark.parametrize("case", BAD)
def test_a_bad_tree_stops_loading_and_is_listed_by_check(tmp_path, case):
    files, expected = BAD[case]
    path = write(tmp_path / "tree", files)
    with pytest.raises(FerError) as error:
        ferplus.load(path, "train")
    assert message(error, path) == expected
    report = ferplus.check(path)
    assert expected in [text.replace(str(path), "PATH") for text in report.faults] and not report.usable
    assert not list((tmp_path / "cache").glob("*")), "half a cache is left"


@pytest.mark.parametrize("case", LIKE_NOTHING)
def test_what_is_no_ferplus_says_what_is_expected(tmp_path, case):
    files, expected = LIKE_NOTHING[case]
    path = write(tmp_path / "tree", files)
    for action in (lambda: ferplus.load(path, "train"), lambda: ferplus.check(path)):
        with pytest.raises(FerError) as error:
            action()
        assert message(error, path) == expected


def test_check_lists_all_faults_at_once(tmp_path):
    files = without(line(export(), 3, "fer0000002.png,1,2"), "FER2013Valid/fer0000001.png")
    files |= {"FER2013Valid/stray.png": b"", "FER2013Test/label.csv": b"\xff"}
    report = ferplus.check(write(tmp_path / "tree", files))
    assert len(report.faults) == 6, "columns, empty class, image, broken list; then twice unlisted files"
    assert "Faults: 6" in str(report) and "Usable: no" in str(report)


@pytest.mark.parametrize("files", [export(), pair()], ids=["folder", "pair"])
def test_an_absent_split_is_named(tmp_path, files):
    path = write(tmp_path / "tree", files)
    with pytest.raises(FerError, match=r"has no (FER2013Test|PrivateTest rows): add .+ split test\.$"):
        ferplus.load(path, "test")
    assert ferplus.check(path).usable


def test_unknown_names_are_answered_with_the_known_ones(tmp_path):
    with pytest.raises(FerError, match=r"no dataset 'qq': choose faces, or on disk .*ferplus"):
        load_dataset("qq", tmp_path, "train")
    with pytest.raises(FerError, match="no split 'valid': take one of train, val, test"):
        load_dataset("ferplus", tmp_path, "valid")


def test_random_damage_to_a_zip_gives_our_error_or_the_same_faces(tmp_path, monkeypatch):
    whole = write(tmp_path / "good.zip", export()).read_bytes()
    good = ferplus.load(tmp_path / "good.zip", "val")
    rng, path = np.random.default_rng(0), tmp_path / "bad.zip"
    for trial in range(60):
        monkeypatch.setenv("FER_LIB_CACHE", str(tmp_path / f"cache {trial}"))
        data = bytearray(whole)
        start = int(rng.choice([rng.integers(len(whole)), len(whole) - rng.integers(1, 3000)]))
        data[start : start + int(rng.integers(1, 9))] = rng.bytes(int(rng.integers(0, 9)))
        path.write_bytes(data)
        try:
            assert ferplus.load(path, "val").fingerprint == good.fingerprint
        except FerError as error:
            assert re.fullmatch(r"[^\n]+\.", str(error))


@pytest.mark.skipif(not REAL.exists(), reason="the real zip is not here")
def test_the_real_zip_has_the_published_rows():
    report = ferplus.check(REAL)
    assert report.usable and len(report.faults) == 1
    assert report.rows == {"train": 28_558, "val": 3_579}
    assert report.removed["train"] == {"no image name": 0, "tied": 1_445, "no emotion": 173}
    assert report.removed["val"] == {"no image name": 0, "tied": 159, "no emotion": 24}
    assert list(report.counts["train"].values()) == [9_360, 7_408, 3_368, 3_418, 2_395, 175, 651, 165]
    assert list(report.counts["val"].values()) == [1_241, 877, 441, 396, 314, 31, 70, 26]
    assert int(ferplus.load(REAL, "val").clear.sum()) == 3_191
