"""The bytes of an image file into pixels, with a limit and in a known form."""

import io

import numpy as np
from PIL import Image, UnidentifiedImageError

FORMATS = ("BMP", "JPEG", "PNG", "TIFF")
PIXELS = 64_000_000  # of the largest image that is unpacked, in a decompression bomb's way
GREY, COLOUR = ("L",), ("RGB", "L", "RGBA", "P", "CMYK", "LA", "1")


def read_pixels(data: bytes, channels: int = 1, size: tuple[int, int] = (), modes: tuple[str, ...] = GREY) -> np.ndarray:
    """The pixels of one image file (BMP, JPEG, PNG or TIFF).

    Args:
        data: the file's bytes.
        channels: 1 for grey, 3 for colour; an image of another kind is converted.
        size: width and height that the image must have; () takes any.
        modes: the modes of Pillow that the image may have.

    Returns:
        uint8 (channels, H, W), values 0-255, sRGB.

    Raises:
        ValueError: naming what is wrong with it. A damaged image makes Pillow raise almost anything else.

    Explained in: book/data.md
    """
    try:
        opened = Image.open(io.BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError:
        raise ValueError(f"it is none of {', '.join(FORMATS)}") from None
    with opened as image:
        # Before the pixels are unpacked, so that a decompression bomb does not go off.
        if size and image.size != size:
            raise ValueError(f"it is {image.width}x{image.height} pixels, expected {size[0]}x{size[1]}")
        if image.width * image.height > PIXELS:
            raise ValueError(f"it is {image.width}x{image.height} pixels, more than a face can need")
        if image.mode not in modes:
            raise ValueError(f"its mode is {image.mode}, expected {' or '.join(modes)}")
        pixels = np.asarray(image.convert("L" if channels == 1 else "RGB"))
        return pixels[None] if channels == 1 else pixels.transpose(2, 0, 1)
