"""Folders and zips read alike; what is broken ends in one sentence."""

import io
import os
import re
import zipfile

import numpy as np
import pytest
from PIL import Image

from fer_lib.data.archive import Archive, decode
from fer_lib.data.pixels import read_pixels
from fer_lib.errors import FerError


def png(pixels: np.ndarray, kind: str = "PNG") -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, kind)
    return stream.getvalue()


def grey(size: int):
    return lambda data, row: read_pixels(data, 1, (size, size))


def faces(number: int, size: int = 12) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (number, size, size), np.uint8)


def zipped(path, files: dict[str, bytes]):
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def unzipped(path, files: dict[str, bytes]):
    for name, data in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data)
    return path


def sentence(error) -> str:
    text = str(error.value)
    assert text.endswith(".") and "\n" not in text
    return text


FILES = {"a/1.png": png(faces(2)[0]), "a/2.png": png(faces(2)[1]), "list.csv": b'\xef\xbb\xbfx,"1,2"\ny,3\n'}
JUNK = {"__MACOSX/a/1.png": b"", "a/.DS_Store": b""}


@pytest.mark.parametrize("make", [zipped, unzipped])
def test_a_folder_and_a_zip_read_alike(tmp_path, make):
    with Archive(make(tmp_path / "set", FILES | JUNK)) as archive:
        assert sorted(archive.members) == sorted(FILES)
        assert archive.below("a") == ["a/1.png", "a/2.png"]
        assert archive.read("a/1.png") == FILES["a/1.png"]
        assert list(archive.table("list.csv")) == [["x", "1,2"], ["y", "3"]]
        (images,) = decode(archive, ["a/2.png", "a/1.png"], (1, 12, 12), grey(12))
        assert np.array_equal(images[:, 0], faces(2)[::-1])


@pytest.mark.parametrize("make", [zipped, unzipped])
def test_the_stamp_notices_a_changed_file(tmp_path, make):
    stamps = set()
    for k, last in enumerate((b"x", b"y", b"yy")):
        with Archive(make(tmp_path / str(k), FILES | {"b": last})) as archive:
            stamps.add(archive.stamp(archive.members))
    assert len(stamps) == 3


def test_many_large_images_come_in_order_and_in_chunks(tmp_path, monkeypatch):
    monkeypatch.setattr("fer_lib.data.archive.CHUNK_BYTES", 5 * 80**2)
    pixels = faces(13, 80)
    with Archive(zipped(tmp_path / "z", {f"{i}.png": png(p) for i, p in enumerate(pixels)})) as archive:
        chunks = list(decode(archive, [f"{i}.png" for i in range(13)], (1, 80, 80), grey(80)))
    assert [len(chunk) for chunk in chunks] == [5, 5, 3]
    assert np.array_equal(np.concatenate(chunks)[:, 0], pixels)


def test_a_folder_that_links_to_its_parent_ends(tmp_path):
    unzipped(tmp_path, FILES)
    os.symlink(tmp_path, tmp_path / "a" / "up")
    with Archive(tmp_path) as archive:
        assert sorted(archive.members) == sorted(FILES)


def test_what_is_no_archive_says_so(tmp_path):
    with pytest.raises(FerError) as error:
        Archive(tmp_path / "none")
    assert sentence(error) == f"{tmp_path}/none does not exist: give the folder or zip file of the dataset."
    (tmp_path / "text.zip").write_text("no zip")
    with pytest.raises(FerError) as error:
        Archive(tmp_path / "text.zip")
    expected = "text.zip is not a whole zip file (File is not a zip file): fetch it again."
    assert sentence(error) == f"{tmp_path}/{expected}"


def test_a_truncated_zip_says_so(tmp_path):
    path = zipped(tmp_path / "z.zip", FILES)
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(FerError) as error:
        Archive(path)
    assert "z.zip is not a whole zip file" in sentence(error)


@pytest.mark.parametrize("name", ["../evil.png", "a/../../evil.png", "/etc/evil", "C:\\evil", "..\\evil"])
def test_a_member_outside_the_folder_is_refused(tmp_path, name):
    with pytest.raises(FerError) as error:
        Archive(zipped(tmp_path / "z.zip", FILES | {name: b""}))
    assert f"has a member {name} outside its folder: do not trust it" in sentence(error)


def test_an_encrypted_zip_is_refused(tmp_path):
    data = bytearray(zipped(tmp_path / "z.zip", FILES).read_bytes())
    data[data.rindex(b"PK\x01\x02") + 8] |= 1
    (tmp_path / "z.zip").write_bytes(data)
    with pytest.raises(FerError) as error:
        Archive(tmp_path / "z.zip")
    assert "is encrypted: unpack it with its password and give the folder" in sentence(error)


def test_a_member_whose_bytes_changed_is_named(tmp_path):
    data = zipped(tmp_path / "z.zip", FILES).read_bytes()
    (tmp_path / "z.zip").write_bytes(data.replace(FILES["a/1.png"][40:48], b"\0" * 8))
    with Archive(tmp_path / "z.zip") as archive:
        with pytest.raises(FerError) as error:
            archive.read("a/1.png")
        assert "a/1.png in" in sentence(error) and "Bad CRC-32" in sentence(error)


BAD = "is no image of this dataset"
IMAGES = {
    "absent.png": (None, r"{path} has no absent.png: complete the dataset\."),
    "cut.png": (FILES["a/1.png"][:60], rf"cut.png in {{path}} {BAD} \(.+\): fetch it again or take it .+"),
    "text.png": (b"<html>", rf"text.png in {{path}} {BAD} \(it is none of BMP, JPEG, PNG, TIFF\): .+"),
    "large.png": (png(faces(1, 13)[0]), rf"large.png .+ {BAD} \(it is 13x13 pixels, expected 12x12\): .+"),
    "colour.png": (png(np.zeros((12, 12, 3), np.uint8)), r"colour.png .+its mode is RGB, expected L\).+"),
    "bomb.png": (png(np.zeros((3000, 3000), np.uint8)), r"bomb.png .+it is 3000x3000 pixels, .+"),
    "vector.png": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", r"vector.png .+none of BMP.+"),
}


@pytest.mark.parametrize("name", IMAGES)
def test_a_bad_image_is_named_with_its_fault(tmp_path, name):
    data, pattern = IMAGES[name]
    files = FILES if data is None else FILES | {name: data}
    with Archive(zipped(tmp_path / "z.zip", files)) as archive:
        with pytest.raises(FerError) as error:
            list(decode(archive, ["a/1.png", name], (1, 12, 12), grey(12)))
        assert re.fullmatch(pattern.format(path=re.escape(str(archive.path))), sentence(error))
        faults = []
        (images,) = decode(archive, ["a/1.png", name, "a/2.png"], (1, 12, 12), grey(12), faults)
    assert faults == [str(error.value)]
    assert np.array_equal(images[[0, 2], 0], faces(2)) and not images[1].any()


def test_a_member_that_unpacks_too_large_is_refused(tmp_path):
    with Archive(zipped(tmp_path / "z.zip", FILES)) as archive:
        with pytest.raises(FerError, match="exceeds 0 MiB"):
            archive.read("a/1.png", limit=10)


def test_a_list_that_is_no_text_says_so(tmp_path):
    with Archive(unzipped(tmp_path, {"list.csv": b"a,\xff\xfe\n"})) as archive:
        with pytest.raises(FerError, match="list.csv in .* cannot be read .*utf-8"):
            list(archive.table("list.csv"))
