"""Made-up trees of pictures for the loaders' tests: small, whole, and known face by face."""

import io
import mmap
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fer_lib.data import check_dataset, load_dataset
from fer_lib.emotions import (
    FACIAL_EXPRESSIONS_WORDS,
    JAFFE_CODES,
    RAFDB_LABELS,
    SFEW_FOLDERS,
)
from fer_lib.errors import FerError

FILES = dict[str, bytes]
# AffectNet's number -> the book's, written out: neutral, happiness, sadness, surprise, fear, disgust, anger,
# contempt; then what is no emotion.
AFFECTNET = {0: 0, 1: 1, 2: 3, 3: 2, 4: 6, 5: 5, 6: 4, 7: 7, 8: None, 9: None, 10: None}


def is_mapped(array: np.ndarray) -> bool:
    """Whether an array's bytes are those of a mapped file."""
    while isinstance(array, np.ndarray) and array.base is not None:
        array = array.base
    return isinstance(getattr(array, "obj", array), mmap.mmap)


def picture(face: int, size: tuple[int, int], mode: str = "RGB", kind: str = "PNG") -> bytes:
    """A picture of one tone, by which :func:`face_of` knows it again."""
    stream = io.BytesIO()
    Image.new(mode, size, face if mode == "L" else (face, 255 - face, 7)).save(stream, kind)
    return stream.getvalue()


def face_of(images) -> list[int]:
    """The tone of the middle of each picture, in the first channel."""
    return images[:, 0, images.shape[2] // 2, images.shape[3] // 2].tolist()


def array(value) -> bytes:
    stream = io.BytesIO()
    np.save(stream, value)
    return stream.getvalue()


def write(path: Path, files: FILES) -> Path:
    """The files in a folder, or in a zip where the path ends so."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            for name, data in files.items():
                archive.writestr(name, data)
        return path
    for name, data in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data)
    return path


def without(files: FILES, *names: str) -> FILES:
    assert set(names) <= set(files)
    return {name: data for name, data in files.items() if name not in names}


def line(files: FILES, name: str, number: int, text: str) -> FILES:
    """The same with another text in one line of a list."""
    lines = files[name].decode().split("\n")
    lines[number - 1] = text
    return files | {name: "\n".join(lines).encode()}


def rafdb() -> tuple[FILES, dict[int, int]]:
    files, faces, lines = {}, {}, []
    for part, each in (("train", 3), ("test", 2)):
        for number, label in enumerate((label for label in RAFDB_LABELS for _ in range(each)), 1):
            face = len(faces)
            files[f"Image/aligned/{part}_{number:05d}_aligned.jpg"] = picture(face, (100, 100))
            lines.append(f"{part}_{number:05d}.jpg {label}")
            faces[face] = RAFDB_LABELS[label]
    return files | {"EmoLabel/list_patition_label.txt": "\n".join(lines).encode()}, faces


def sfew() -> tuple[FILES, dict[int, int]]:
    files, faces = {}, {}
    for part, each in (("Train", 3), ("Val", 2)):
        for folder, label in SFEW_FOLDERS.items():
            for k in range(each):
                face = len(faces)
                name = f"{part}/{part}_Aligned_Faces/{folder}/{part}Movie{k}_00{face:03d}000_00000001.png"
                files[name] = picture(face, (143, 181))
                faces[face] = label
    return files, faces


def affectnet_old() -> tuple[FILES, dict[int, int]]:
    files, faces = {}, {}
    for file, each in (("training.csv", 3), ("validation.csv", 2)):
        lines = ["subDirectory_filePath,face_x,face_y,face_width,face_height,facial_landmarks,expression,valence,arousal"]
        for label in (label for label in AFFECTNET for _ in range(each)):
            face = len(faces)
            name = f"{face % 4}/{face:056x}.jpg"
            files[f"Manually_Annotated_Images/{name}"] = picture(face, (60 + face, 80))
            lines.append(f"{name},5,6,40,40,1.0;2.0,{label},0.1,-0.2")
            faces[face] = AFFECTNET[label]
        files[f"Manually_Annotated_file_lists/{file}"] = "\n".join(lines).encode()
    return files, {face: label for face, label in faces.items() if label is not None}


def affectnet_new() -> tuple[FILES, dict[int, int]]:
    files, faces = {}, {}
    for part, each in (("train_set", 3), ("val_set", 2)):
        for label in (label for label in range(8) for _ in range(each)):
            face = len(faces)
            files[f"{part}/images/{face}.jpg"] = picture(face, (224, 224))
            files[f"{part}/annotations/{face}_exp.npy"] = array(np.array(str(label)))
            files[f"{part}/annotations/{face}_val.npy"] = array(np.array("0.5"))
            faces[face] = AFFECTNET[label]
    return files, faces


def jaffe() -> tuple[FILES, dict[int, int]]:
    files, faces = {}, {}
    for woman in ("KA", "KL", "KM", "KR", "MK", "NA", "NM", "TM", "UY", "YM"):
        for code, label in JAFFE_CODES.items():
            face = len(faces)
            files[f"jaffe/{woman}.{code}1.{face + 1}.tiff"] = picture(face, (256, 256), "L")
            faces[face] = label
    return files, faces


def facial_expressions() -> tuple[FILES, dict[int, int]]:
    files, faces, lines = {}, {}, ["user.id,image,emotion"]
    for person in range(12):
        for word, label in FACIAL_EXPRESSIONS_WORDS.items():
            face = len(faces)
            name = f"Some_Body-{chr(65 + person)}_{face:04d}.jpg"
            files[f"images/{name}"] = picture(face, (40, 36), "L")
            lines.append(f"{face % 3},{name},{word}")
            faces[face] = label
    return files | {"data/legend.csv": "\n".join(lines).encode()}, faces


# layout, tree
TREES: dict[str, tuple[str, Callable[[], tuple[FILES, dict[int, int]]]]] = {
    "rafdb": ("rafdb", rafdb),
    "sfew": ("sfew", sfew),
    "affectnet8 old": ("affectnet8", affectnet_old),
    "affectnet7 new": ("affectnet7", affectnet_new),
    "jaffe": ("jaffe", jaffe),
    "facial_expressions": ("facial_expressions", facial_expressions),
}


def say(text: object, path: Path) -> str:
    return str(text).replace(str(path), "PATH")


def assert_bad(name: str, path: Path, expected: str, split: str = "train") -> None:
    """Loading stops with the sentence and leaves no cache; checking lists it, and calls the set unusable."""
    with pytest.raises(FerError) as error:
        load_dataset(name, path, split)
    assert say(error.value, path) == expected
    report = check_dataset(name, path)
    assert expected in [say(text, path) for text in report.faults] and not report.usable


def assert_unlike(name: str, path: Path, expected: str) -> None:
    """Neither loading nor checking goes on."""
    for action in (lambda: load_dataset(name, path, "train"), lambda: check_dataset(name, path)):
        with pytest.raises(FerError) as error:
            action()
        assert say(error.value, path) == expected
