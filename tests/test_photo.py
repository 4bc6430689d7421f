"""A photo is read, its face found and cut out as the recognizers expect it; what is no photo gets one sentence."""

import io

import numpy as np
import pytest
import torch
from PIL import Image
from skimage.data import astronaut

from fer_lib.data.align import eye_centres
from fer_lib.data.faces import draw_faces, make_faces, prototype_units, sample_people
from fer_lib.errors import FerError
from fer_lib.photo import EXPECTED, LARGEST, Eyes, cut_out, eyes_in_the_middle, eyes_of_drawn, find_eyes, frame, read_photo


@pytest.fixture(scope="module")
def photo():
    """The official portrait of an astronaut that comes with scikit-image, in the public domain."""
    return torch.from_numpy(astronaut().transpose(2, 0, 1).copy())


def saved(image: Image.Image, form: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def test_a_photo_comes_upright_and_not_too_large():
    image = Image.new("RGB", (40, 20), (250, 0, 0))
    image.paste((0, 0, 250), (0, 0, 20, 20))  # the left half is blue
    held = Image.Exif()
    held[0x0112] = 6  # the camera was held so that the picture's top is at its right
    pixels = read_photo(saved(image, "PNG", exif=held), "held.png")
    assert pixels.shape == (3, 40, 20) and pixels[2, 5].min() > 200 and pixels[0, 35].min() > 200
    assert read_photo(saved(image, "PNG"), "plain.png").shape == (3, 20, 40)
    assert read_photo(saved(Image.new("L", (3000, 1500)), "JPEG"), "large.jpg").shape == (3, LARGEST // 2, LARGEST)


def test_what_is_no_photo_gets_one_sentence(monkeypatch):
    with pytest.raises(FerError, match="notes.txt is no photo that can be read here: it is none of BMP, JPEG, PNG, TIFF; choose"):
        read_photo(b"only words", "notes.txt")
    whole = saved(Image.effect_noise((200, 200), 90), "PNG")
    with pytest.raises(FerError, match=r"half.png is no photo that can be read here: it is damaged; choose a photo saved as PNG or JPEG"):
        read_photo(whole[: len(whole) // 2], "half.png")
    with pytest.raises(FerError, match="its colours are of the kind F; save it as PNG or JPEG with 8 bits a colour"):
        read_photo(saved(Image.new("F", (30, 30)), "TIFF"), "float.tiff")
    large = saved(Image.new("1", (9000, 9000)), "PNG")
    with pytest.raises(FerError, match="large.png is no photo that can be read here: it has more than 64 million pixels; make it smaller.$"):
        read_photo(large, "large.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1_000_000)  # Pillow's own limit, beyond twice which it opens nothing
    with pytest.raises(FerError, match="it has more than 64 million pixels; make it smaller.$"):
        read_photo(large, "bomb.png")


def test_grey_of_16_bits_keeps_its_light():
    deep = Image.fromarray(np.linspace(0, 65535, 40 * 30).astype(np.uint16).reshape(30, 40))
    pixels = read_photo(saved(deep, "PNG"), "deep.png")
    assert pixels.shape == (3, 30, 40) and pixels[0].flatten().tolist() == pytest.approx(np.linspace(0, 255, 40 * 30), abs=1)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_what_is_transparent_is_white(mode):
    image = Image.new("RGBA", (20, 10), (0, 0, 0, 0))
    image.paste((200, 0, 0, 255), (0, 0, 10, 10))
    image = image.quantize(4) if mode == "P" else image.convert(mode)
    pixels = read_photo(saved(image, "PNG"), "clear.png")
    assert (pixels[:, :, 10:] == 255).all() and (pixels[1, :, :10] < 100).all()


HEADS = {"whole": (0, 0, 512, 512), "head": (130, 20, 330, 220), "without the left": (100, 0, 512, 512)}


@pytest.mark.parametrize("longest", [512, 800, 1200])
@pytest.mark.parametrize("crop", HEADS.values(), ids=HEADS)
def test_the_eyes_of_a_photograph_are_found_at_every_size(photo, crop, longest):
    image = Image.fromarray(photo.permute(1, 2, 0).numpy()).crop(crop)
    scale = longest / max(image.size)
    large = image.resize([round(scale * n) for n in image.size])
    found = find_eyes(torch.from_numpy(np.array(large).transpose(2, 0, 1).copy())).both()
    for eye, marked in zip(found, (203 + 101j, 246 + 103j), strict=True):  # by hand
        assert abs(eye - scale * (marked - complex(*crop[:2]))) < 10 * scale  # a quarter of their distance


def test_where_no_face_is_none_is_found(photo):
    assert find_eyes(torch.full_like(photo, 128)) is None and find_eyes(photo[:, :20, :20]) is None


def test_the_eyes_of_most_drawn_faces_are_found():
    labels = torch.arange(24) % 8
    drawn = draw_faces(sample_people(torch.arange(24)), prototype_units(labels), size=160)
    truth = eye_centres(drawn.landmarks)
    found = [find_eyes((face * 255).to(torch.uint8)) for face in drawn.image]
    near = [eyes and abs(complex(eyes.x, eyes.y) - complex(*points.mean(0))) < 0.12 * 160 for eyes, points in zip(found, truth, strict=True)]
    assert sum(map(bool, near)) >= 18


def test_drawn_faces_have_their_eyes_where_it_is_expected():
    faces = make_faces(160, "train", size=64)
    mean = eye_centres(faces.landmarks).mean(0) / 64
    assert torch.allclose(mean.float() + 0.5 / 64, torch.tensor(EXPECTED["faces"].eyes) + 0.5 / 64, atol=0.01)


def test_a_drawn_face_stays_as_it_is():
    face = make_faces(1, "test", size=64).images[0]
    same = cut_out(face, eyes_of_drawn(64), "faces", 64)
    assert same.shape == (1, 3, 64, 64)
    assert (same[0] * 255 - face).abs().max() <= 1.5


@pytest.mark.parametrize("dataset", EXPECTED)
@pytest.mark.parametrize("eyes", [Eyes(80, 60, 40), Eyes(70, 90, 30, 20), Eyes(90, 70, 25, -35)])
def test_the_marks_come_to_the_places_that_are_expected(dataset, eyes):
    photo = torch.zeros(3, 160, 200, dtype=torch.uint8)
    for eye in eyes.both():
        x, y = round(eye.real), round(eye.imag)
        photo[:, y - 2 : y + 3, x - 2 : x + 3] = 255
    face = cut_out(photo, eyes, dataset, 96)[0].mean(0)
    assert cut_out(photo, eyes, dataset, 96).shape[1] == (1 if EXPECTED[dataset].grey else 3)
    rows, columns = torch.meshgrid(torch.arange(96.0), torch.arange(96.0), indexing="ij")
    for half, (x, y) in zip((columns < 48, columns >= 48), EXPECTED[dataset].eyes, strict=True):
        spot = face * half
        centre = [((spot * at).sum() / spot.sum()).item() for at in (columns, rows)]
        assert centre == pytest.approx([96 * x - 0.5, 96 * y - 0.5], abs=1.5)


def test_the_square_is_as_large_as_the_picture_of_a_drawn_face():
    corners = frame(eyes_of_drawn(64), "faces")
    wanted = (-0.5 - 0.5j, 63.5 - 0.5j, 63.5 + 63.5j, -0.5 + 63.5j)
    assert all(abs(a - b) < 1e-6 for a, b in zip(corners, wanted, strict=True))


def test_faults(photo):
    with pytest.raises(FerError, match="How the faces of moon lie is not known: choose a recognizer of faces, ferplus"):
        cut_out(photo, eyes_in_the_middle(photo), "moon", 64)
    for dataset in EXPECTED:
        with pytest.raises(FerError, match="^The two marks are at one place: move them apart"):
            cut_out(photo, Eyes(50, 50, 1.5), dataset, 64)
