"""RAF-DB basic, good and bad, and its list with the published counts."""

import io

import numpy as np
import pytest
import torch
from made_up import assert_bad, assert_unlike, face_of, line, picture, rafdb, without, write
from PIL import Image

from fer_lib.data import check_dataset, load_dataset
from fer_lib.data import rafdb as module
from fer_lib.data.archive import Archive
from fer_lib.emotions import NAMES, RAFDB_LABELS, Emotion
from fer_lib.errors import FerError

FILES, FACES = rafdb()
LIST, THIRD = module.LIST, "Image/aligned/train_00003_aligned.jpg"
PUBLISHED = {"train": (1290, 281, 717, 4772, 1982, 705, 2524), "test": (329, 74, 160, 1185, 478, 162, 680)}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("FER_LIB_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize("name", ["basic", "set.zip"])
@pytest.mark.parametrize("top", ["", "RAF-DB/basic/"])
def test_a_good_tree(tmp_path, name, top):
    path = write(tmp_path / name, {top + file: data for file, data in FILES.items()})
    splits = {split: load_dataset("rafdb", path, split) for split in ("train", "val", "test")}
    assert [len(faces) for faces in splits.values()] == [14, 7, 14]
    for split, faces in splits.items():
        assert (faces.name, faces.split, faces.classes, faces.subjects) == ("rafdb", split, 7, None)
        assert faces.images.shape[1:] == (3, 100, 100)
        assert faces.labels.tolist() == [FACES[face] for face in face_of(faces.images)]
        assert set(faces.counts().values()) == {1 if split == "val" else 2}
    seen = [face_of(splits[split].images) for split in ("train", "val", "test")]
    assert sorted(seen[0] + seen[1]) == list(range(21)) and seen[2] == list(range(21, 35))


def test_a_jpeg_keeps_its_colours_in_the_order_red_green_blue(tmp_path):
    pixels = np.zeros((100, 100, 3), np.uint8) + np.array([200, 100, 30], np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=95, subsampling=0)
    path = write(tmp_path / "tree", FILES | {"Image/aligned/test_00001_aligned.jpg": stream.getvalue()})
    middle = load_dataset("rafdb", path, "test").images[0, :, 50, 50].int()
    assert (middle - torch.tensor([200, 100, 30])).abs().max() <= 2


def test_the_list_gives_the_published_counts(tmp_path):
    lines = [
        f"{part}_{number:05d}.jpg {label}"
        for part, counts in PUBLISHED.items()
        for number, label in enumerate(np.repeat(range(1, 8), counts), 1)
    ]
    with Archive(write(tmp_path / "tree", {LIST: "\r\n".join(lines).encode()})) as archive:
        tree = module._RafDb(archive)
        for source, part in (("train+val", "train"), ("test", "test")):
            rows = tree.rows(source).rows
            assert len(rows) == tree.published[source] == sum(PUBLISHED[part])
            found = np.bincount([row.label for row in rows])
            assert {RAFDB_LABELS[k]: n for k, n in enumerate(PUBLISHED[part], 1)} == dict(enumerate(found))
            assert found[Emotion.HAPPINESS] == max(found) and rows[-1].label == Emotion.NEUTRAL
        rows = tree.rows("train+val").rows
        held = np.bincount([row.label for row, part in zip(rows, tree.parts("train+val", rows)) if part == 0])
        assert dict(zip(NAMES, held.tolist())) == {
            "neutral": 252, "happiness": 477, "surprise": 129, "sadness": 198, "anger": 71, "disgust": 72, "fear": 28,
        }  # fmt: skip


def test_check_counts_the_lists_and_the_splits(tmp_path):
    report = check_dataset("rafdb", write(tmp_path / "tree", FILES | {"Image/aligned/test_09999_aligned.jpg": b""}))
    assert report.usable and report.rows == {"train+val": 21, "train": 14, "val": 7, "test": 14}
    assert report.counts["train+val"] == dict.fromkeys(NAMES[:7], 3)
    lists, stray, whole = report.faults
    assert "lists 21 faces for train+val, the publication counts 12,271" in lists
    assert "lists 14 faces for test" in whole and "1 picture in" in stray and "test_09999_aligned.jpg" in stray


NO_IMAGE, TAKE_OUT = "is no image of this dataset", "fetch it again or take it out of the list."
BAD = {
    "an unknown label": (
        line(FILES, LIST, 3, "train_00003.jpg 12"),
        f"{LIST} in PATH, line 3: label 12 is none of 1 to 7; fetch the list again.",
    ),
    "garbage": (
        line(FILES, LIST, 3, 'train_00003.jpg "five'),
        f"{LIST} in PATH, line 3: 'train_00003.jpg \"five' is not like 'train_00001.jpg 5'; fetch the list again.",
    ),
    "a face listed twice": (
        line(FILES, LIST, 3, "train_00002.jpg 1"),
        f"{LIST} in PATH, line 3: train_00002.jpg is listed a second time; keep one of the two lines.",
    ),
    "the compound set": (
        line(FILES, LIST, 3, "train_00003.jpg 11"),
        f"{LIST} in PATH, line 3: label 11 is of RAF-DB's compound set, whose labels go to 11; "
        "give the folder of the basic set.",
    ),
    "an absent picture": (without(FILES, THIRD), f"PATH has no {THIRD}: complete the dataset."),
    "a picture of another size": (
        FILES | {THIRD: picture(2, (100, 90))},
        f"{THIRD} in PATH {NO_IMAGE} (it is 100x90 pixels, expected 100x100): {TAKE_OUT}",
    ),
    "a grey picture": (
        FILES | {THIRD: picture(2, (100, 100), "L")},
        f"{THIRD} in PATH {NO_IMAGE} (its mode is L, expected RGB): {TAKE_OUT}",
    ),
    "a bomb": (
        FILES | {THIRD: picture(2, (9000, 9000), "L")},
        f"{THIRD} in PATH {NO_IMAGE} (it is 9000x9000 pixels, expected 100x100): {TAKE_OUT}",
    ),
    "a renamed text": (
        FILES | {THIRD: FILES[LIST]},
        f"{THIRD} in PATH {NO_IMAGE} (it is none of BMP, JPEG, PNG, TIFF): {TAKE_OUT}",
    ),
    "an empty class": (
        FILES | {LIST: FILES[LIST].replace(b" 2", b" 1")},
        "PATH (train+val) has no face of fear after cleaning: complete the dataset, since every class needs faces.",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_tree(tmp_path, case):
    files, expected = BAD[case]
    assert_bad("rafdb", write(tmp_path / "tree", files), expected)
    assert not list((tmp_path / "cache").glob("*")), "half a cache is left"


def test_another_tree(tmp_path):
    expected = f"PATH holds no RAF-DB basic: expected {module._RafDb.expected}."
    assert_unlike("rafdb", write(tmp_path / "tree", without(FILES, LIST)), expected)


def test_two_sets_in_one_folder(tmp_path):
    files = {top + name: data for top in ("basic/", "compound/") for name, data in FILES.items()}
    expected = "PATH holds RAF-DB basic more than once (basic/, compound/): give one of them alone."
    assert_unlike("rafdb", write(tmp_path / "tree", files), expected)


def test_check_lists_all_faults_at_once(tmp_path):
    files = line(line(without(FILES, THIRD), LIST, 1, "what"), LIST, 2, "train_00002.jpg 0")
    files |= {"Image/aligned/test_00002_aligned.jpg": b"no picture", "Image/aligned/train_1_aligned.jpg": b""}
    report = check_dataset("rafdb", write(tmp_path / "tree", files))
    told = "\n".join(report.faults)
    parts = ("line 1: 'what'", "line 2: label 0", THIRD, "test_00002_aligned.jpg", "3 pictures", "12,271", "3,068")
    for part in (*parts, "(val) has no face of surprise"):
        assert part in told
    assert len(report.faults) == 8 and not report.usable and "Faults: 8" in str(report)


def test_an_unknown_split(tmp_path):
    with pytest.raises(FerError, match="RAF-DB basic has no split 'valid': take one of train, val, test"):
        load_dataset("rafdb", write(tmp_path / "tree", FILES), "valid")
