"""From a picture of any form to a square of one size."""

import numpy as np
from PIL import Image

MIDDLE = "middle square"  # what a layout calls it


def square(pixels: np.ndarray, size: int, box: tuple[float, ...] = ()) -> np.ndarray:
    """A square part of a picture, resized to ``size`` pixels.

    The part is centred on the box's centre, with the box's longer side, or the picture's
    shorter side where that is less; moved by no more than it must to lie inside the picture.
    It is resized bicubically with Pillow, which smooths before it shrinks and, at the part's edge,
    weighs in the pixels beyond it; a part that already has the size is cut out and not resampled.

    Args:
        pixels: uint8 (C, H, W), grey or RGB.
        size: side of the result in pixels.
        box: left, top, width and height in pixels; () is the whole picture.

    Returns:
        uint8 (C, size, size), in the order of the channels that came in.

    Raises:
        ValueError: if the box is empty or lies outside the picture.

    Explained in: book/data.md
    """
    height, width = pixels.shape[1:]
    left, top, w, h = box or (0, 0, width, height)
    if not (w > 0 and h > 0 and left < width and top < height and left + w > 0 and top + h > 0):
        what = f"left {left:g}, top {top:g}, {w:g}x{h:g} pixels"
        raise ValueError(f"its face box ({what}) does not meet the picture of {width}x{height} pixels")
    side = min(max(w, h), width, height)
    x = min(max(left + (w - side) / 2, 0), width - side)
    y = min(max(top + (h - side) / 2, 0), height - side)
    if side == size:
        x, y = int(x), int(y)
        return pixels[:, y : y + size, x : x + size]
    image = Image.fromarray(pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0))
    resized = np.asarray(image.resize((size, size), Image.Resampling.BICUBIC, (x, y, x + side, y + side)))
    return resized[None] if len(pixels) == 1 else resized.transpose(2, 0, 1)
