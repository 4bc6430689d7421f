"""SFEW 2.0, good and bad; a movie's faces stay together."""

import pytest
import torch
from made_up import assert_bad, assert_unlike, face_of, picture, sfew, write

from fer_lib.data import check_dataset, load_dataset
from fer_lib.data import sfew as module
from fer_lib.data.pixels import read_pixels
from fer_lib.data.square import square
from fer_lib.emotions import NAMES
from fer_lib.errors import FerError

FILES, FACES = sfew()
SAD = next(name for name in FILES if "/Sad/" in name)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("FER_LIB_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize("name", ["SFEW", "set.zip"])
@pytest.mark.parametrize("change", [("", ""), ("Train/", "SFEW/Train/"), ("Val_Aligned_Faces/", "Val_Aligned_Faces_new/")])
def test_a_good_tree(tmp_path, name, change):
    path = write(tmp_path / name, {file.replace(*change): data for file, data in FILES.items()})
    splits = {split: load_dataset("sfew", path, split) for split in ("train", "val", "test")}
    for split, faces in splits.items():
        assert (faces.name, faces.split, faces.classes, faces.subjects) == ("sfew", split, 7, None)
        assert faces.images.shape[1:] == (3, 143, 143)
        assert faces.labels.tolist() == [FACES[face] for face in face_of(faces.images)]
    seen = [face_of(splits[split].images) for split in ("train", "val", "test")]
    assert sorted(seen[0] + seen[1]) == list(range(21)) and sorted(seen[2]) == list(range(21, 35))
    assert set(splits["val"].counts().values()) == {1}, "one of the three movies, which has one face of each class"


def movies(faces, files) -> set[str]:
    names = {face_of_file(data): name for name, data in files.items()}
    return {module._MOVIE.match(names[face].rpartition("/")[2])[1] for face in face_of(faces.images)}


def face_of_file(data: bytes) -> int:
    return int(read_pixels(data, 3, modes=("RGB",))[0, 0, 0])


def test_a_movie_is_in_one_part(tmp_path):
    path = write(tmp_path / "tree", FILES)
    train, val = (movies(load_dataset("sfew", path, split), FILES) for split in ("train", "val"))
    assert train and val and not train & val


def test_names_without_a_movie_are_held_out_one_by_one(tmp_path):
    files = {f"Train/Train_Aligned_Faces/{folder}/{folder}{k}.png": picture(k, (143, 181))
             for folder in module.SFEW_FOLDERS for k in range(20)}  # fmt: skip
    report = check_dataset("sfew", write(tmp_path / "tree", files))
    assert report.counts["val"] == dict.fromkeys(NAMES[:7], 2)
    assert report.usable and len(report.faults) == 1 and "no pictures or list for test" in report.faults[0]
    with pytest.raises(FerError, match="has no pictures or list for test: expected Train/Train_Aligned_Faces"):
        load_dataset("sfew", tmp_path / "tree", "test")


def test_the_square_is_the_middle_and_keeps_its_pixels():
    pixels = torch.arange(181 * 143).reshape(1, 181, 143).remainder(251).byte().numpy()
    assert (square(pixels, 143) == pixels[:, 19:162]).all()


BAD = {
    "an unknown class": (
        FILES | {"Train/Train_Aligned_Faces/Bored/M_1.png": picture(1, (143, 181))},
        "Train/Train_Aligned_Faces/Bored/M_1.png in PATH lies in no folder of a class: "
        "expected Angry, Disgust, Fear, Happy, Neutral, Sad, Surprise; move it or take it out.",
    ),
    "a picture in two classes": (
        FILES | {SAD.replace("/Sad/", "/Surprise/"): picture(1, (143, 181))},
        f"{SAD.replace('/Sad/', '/Surprise/')} in PATH has the name of {SAD}, and a picture has one class: "
        "keep one of the two.",
    ),
    "an empty class": (
        {name: data for name, data in FILES.items() if "/Sad/" not in name},
        "PATH (train+val) has no face of sadness after cleaning: complete the dataset, since every class needs faces.",
    ),
    "a whole frame": (
        FILES | {SAD: picture(1, (720, 576))},
        f"{SAD} in PATH is no image of this dataset (it is 720x576 pixels, expected 143x181): "
        "fetch it again or take it out of the list.",
    ),
    "a truncated picture": (
        FILES | {SAD: FILES[SAD][:60]},
        f"{SAD} in PATH is no image of this dataset (image file is truncated): "
        "fetch it again or take it out of the list.",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_tree(tmp_path, case):
    files, expected = BAD[case]
    assert_bad("sfew", write(tmp_path / "tree", files), expected)


def test_another_tree(tmp_path):
    expected = f"PATH holds no SFEW 2.0: expected {module._Sfew.expected}."
    assert_unlike("sfew", write(tmp_path / "tree", {"Sad/1.png": b""}), expected)


def test_both_deliveries_of_val(tmp_path):
    files = FILES | {name.replace("Val_Aligned_Faces", "Val_Aligned_Faces_new"): data for name, data in FILES.items()}
    expected = (
        "PATH holds SFEW 2.0 more than once (Val/Val_Aligned_Faces, Val/Val_Aligned_Faces_new): give one of them alone."
    )
    assert_unlike("sfew", write(tmp_path / "tree", files), expected)


def test_check_lists_all_faults_at_once(tmp_path):
    files = BAD["an unknown class"][0] | {SAD: b"", SAD + ".txt": b"", SAD.replace("/Sad/", "/Happy/"): b"x"}
    report = check_dataset("sfew", write(tmp_path / "tree", files))
    assert len(report.faults) == 4 and not report.usable
    assert "1 file among the pictures of" in report.faults[-1]
