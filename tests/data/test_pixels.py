"""Image files: kinds, colour order, size and limits."""

import io

import numpy as np
import pytest
from PIL import Image

from fer_lib.data import pixels as module
from fer_lib.data.pixels import COLOUR, read_pixels


def encoded(array, kind="PNG", mode=None) -> bytes:
    stream = io.BytesIO()
    image = Image.fromarray(array)
    (image.convert(mode) if mode else image).save(stream, kind)
    return stream.getvalue()


ORANGE = np.full((5, 7, 3), (250, 120, 10), np.uint8)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF"])
def test_red_comes_first_and_rows_before_columns(kind):
    pixels = read_pixels(encoded(ORANGE, kind), 3, modes=COLOUR)
    assert pixels.shape == (3, 5, 7) and pixels[:, 2, 3].tolist() == [250, 120, 10]


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK", "LA", "1"])
def test_every_usual_mode_becomes_colour(mode):
    kind = "TIFF" if mode == "CMYK" else "PNG"
    assert read_pixels(encoded(ORANGE, kind, mode), 3, modes=COLOUR).shape == (3, 5, 7)


@pytest.mark.parametrize(
    "data, options, sentence",
    [
        (b"no image", {}, "it is none of BMP, JPEG, PNG, TIFF"),
        (encoded(ORANGE, "GIF"), {}, "it is none of BMP, JPEG, PNG, TIFF"),
        (encoded(ORANGE), {}, "its mode is RGB, expected L"),
        (encoded(ORANGE), {"modes": COLOUR, "size": (5, 5)}, "it is 7x5 pixels, expected 5x5"),
    ],
)
def test_what_is_wrong_is_named(data, options, sentence):
    with pytest.raises(ValueError, match=sentence):
        read_pixels(data, **options)


def test_a_bomb_is_refused_before_it_is_unpacked(monkeypatch):
    monkeypatch.setattr(module, "PIXELS", 30)
    with pytest.raises(ValueError, match="it is 7x5 pixels, more than a face can need"):
        read_pixels(encoded(ORANGE), 3, modes=COLOUR)
