"""A photo of your own: read, its face found, and cut out as a recognizer expects faces. Nothing is sent anywhere."""

import io
from functools import cache
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from skimage.data import lbp_frontal_face_cascade_filename
from skimage.feature import Cascade
from torch import Tensor

from fer_lib.data.align import TEMPLATE, align
from fer_lib.data.pixels import COLOUR, FORMATS, PIXELS
from fer_lib.errors import FerError

LARGEST = 1200  # pixels of the longer side that are kept of a photo
LOOKED_AT = (400, 512, 640)  # pixels of the longer side at which faces are looked for
CLOSEST = 2  # pixels: the least distance between two eyes
WINDOW = 24  # pixels: side of the smallest face that the detector knows
IN_BOX = ((0.31, 0.38), (0.70, 0.38))  # the eyes, as shares of the detector's box: between photographs and drawn faces
_ORIENTATION = 0x0112  # Exif: how the camera was held
_SIXTEEN = ("I;16", "I;16L", "I;16B", "I;16N")  # Pillow's modes for grey of 16 bits
_SAVED = "choose a photo saved as PNG or JPEG"


class Expected(NamedTuple):
    """How the pictures of a dataset are, on which a recognizer was trained.

    Attributes:
        eyes: left and right eye, (x, y) as shares of the width: means over drawn faces by their landmarks, of FERPlus read
            off the mean picture of its validation part.
        grey: whether they have no colours.

    Explained in: book/playground.ipynb
    """

    eyes: tuple[tuple[float, float], tuple[float, float]]
    grey: bool


EXPECTED = {
    "faces": Expected(((0.338, 0.427), (0.648, 0.427)), False),
    "ferplus": Expected(((0.32, 0.37), (0.69, 0.37)), True),
}


class Eyes(NamedTuple):
    """Where two eyes are in a picture, in pixels, the corner pixel's centre at (0, 0).

    Attributes:
        x, y: of the middle between them.
        apart: their distance, above 0.
        turn: of the line from the left one in the picture to the right one, in degrees; positive is clockwise.

    Explained in: book/playground.ipynb
    """

    x: float
    y: float
    apart: float
    turn: float = 0.0

    def both(self) -> tuple[complex, complex]:
        """The left and the right eye as complex numbers, x + iy."""
        half = self.apart / 2 * np.exp(1j * np.deg2rad(self.turn))
        middle = complex(self.x, self.y)
        return middle - half, middle + half


def read_photo(data: bytes, name: str) -> Tensor:
    """The pixels of an uploaded photo, upright, its longer side at most ``LARGEST`` pixels.

    Args:
        data: the file's bytes.
        name: of the file, for the message.

    Returns:
        uint8 (3, H, W), sRGB; what is transparent is white.

    Raises:
        FerError: if it is no picture that can be read, or too large a one.

    Explained in: book/playground.ipynb
    """
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as opened:
            # Before the pixels are unpacked, so that a decompression bomb does not go off.
            if opened.width * opened.height > PIXELS:
                raise Image.DecompressionBombError
            if opened.mode not in (*COLOUR, *_SIXTEEN):
                raise _refused(name, f"its colours are of the kind {opened.mode}", "save it as PNG or JPEG with 8 bits a colour")
            held = opened.getexif().get(_ORIENTATION, 1)
            image = _on_white(opened)
    except UnidentifiedImageError as error:
        raise _refused(name, f"it is none of {', '.join(FORMATS)}", _SAVED) from error
    except Image.DecompressionBombError as error:
        raise _refused(name, f"it has more than {PIXELS / 1e6:.0f} million pixels", "make it smaller") from error
    except FerError:
        raise
    except Exception as error:  # a damaged picture makes Pillow raise almost anything
        raise _refused(name, "it is damaged", _SAVED) from error
    image.getexif()[_ORIENTATION] = held
    image = ImageOps.exif_transpose(image)
    image.thumbnail((LARGEST, LARGEST))
    return torch.from_numpy(np.array(image).transpose(2, 0, 1).copy())


def find_eyes(photo: Tensor) -> Eyes | None:
    """Where the eyes of the largest frontal face should be, by a cascade of local binary patterns [zhang2007face].

    The detector and its weights come with scikit-image. It looks at the photo in the sizes of ``LOOKED_AT``; a box counts
    that at least two of them find, and the eyes are then assumed at ``IN_BOX`` of their mean.

    Args:
        photo: uint8 (3, H, W).

    Returns:
        The eyes, or ``None`` where no face is found.

    Explained in: book/playground.ipynb
    """
    if min(photo.shape[1:]) < WINDOW:
        return None
    image = Image.fromarray(photo.permute(1, 2, 0).numpy())
    found = [_boxes(image, longest) for longest in LOOKED_AT]
    faces = []
    for box in np.concatenate(found):
        alike = [max(boxes, key=lambda other: _overlap(box, other)) for boxes in found if len(boxes)]
        faces.append([other for other in alike if _overlap(box, other) > 0.4])
    confirmed = [np.mean(face, 0) for face in faces if len(face) > 1]
    if not confirmed:
        return None
    x, y, width = max(confirmed, key=lambda box: box[2]) * max(image.size)
    (left, down), (right, _) = IN_BOX
    return Eyes(x + width * (left + right) / 2 - 0.5, y + width * down - 0.5, width * (right - left))


def eyes_in_the_middle(photo: Tensor) -> Eyes:
    """Where to begin when no face was found: the middle of the picture.

    Explained in: book/playground.ipynb
    """
    height, width = photo.shape[1:]
    return Eyes(width / 2 - 0.5, 0.42 * height - 0.5, 0.3 * min(height, width))


def eyes_of_drawn(size: int) -> Eyes:
    """Where a drawn face of ``size`` pixels has its eyes on average, so that :func:`cut_out` leaves the picture as it is.

    Explained in: book/playground.ipynb
    """
    (left, y), (right, _) = EXPECTED["faces"].eyes
    return Eyes(size * (left + right) / 2 - 0.5, size * y - 0.5, size * (right - left))


def frame(eyes: Eyes, dataset: str) -> list[complex]:
    """The four corners, x + iy in pixels, of the square that :func:`cut_out` takes.

    Explained in: book/playground.ipynb
    """
    scale, shift = _into_picture(eyes, dataset)
    return [scale * corner + shift - (0.5 + 0.5j) for corner in (0, 1, 1 + 1j, 1j)]


def cut_out(photo: Tensor, eyes: Eyes, dataset: str, size: int) -> Tensor:
    """The face as a recognizer trained on ``dataset`` expects it: turned and scaled, eyes in their usual places.

    :func:`fer_lib.data.align.align` does it, which brings eyes to its own template; so it is told where in the photo
    that template's places are.

    Args:
        photo: uint8 (3, H, W).
        dataset: a key of ``EXPECTED``.
        size: side of the result in pixels.

    Returns:
        float32 (1, C, size, size) in [0, 1], C = 1 where the dataset is grey.

    Raises:
        FerError: if it is not known how the dataset's faces lie, or the eyes are less than ``CLOSEST`` pixels apart.

    Explained in: book/playground.ipynb
    """
    if dataset not in EXPECTED:
        raise FerError(f"How the faces of {dataset} lie is not known: choose a recognizer of {', '.join(EXPECTED)}.")
    if eyes.apart < CLOSEST:
        raise FerError("The two marks are at one place: move them apart, one onto each eye.")
    scale, shift = _into_picture(eyes, dataset)
    points = torch.full((1, 5, 2), torch.nan, dtype=torch.float64)
    for k, (x, y) in enumerate(TEMPLATE):
        place = scale * complex(x, y) + shift - (0.5 + 0.5j)
        points[0, k] = torch.tensor([place.real, place.imag], dtype=torch.float64)
    face = align(photo[None], points, size)[0].float() / 255
    if EXPECTED[dataset].grey:
        weights = torch.tensor([0.299, 0.587, 0.114])  # as Pillow makes grey of colours (ITU-R BT.601)
        face = (face * weights[:, None, None]).sum(1, keepdim=True)
    return face


def _into_picture(eyes: Eyes, dataset: str) -> tuple[complex, complex]:
    """The similarity z -> scale * z + shift from shares of the square's width to the picture, (0, 0) its very corner."""
    left, right = (complex(*place) for place in EXPECTED[dataset].eyes)
    first, second = (eye + (0.5 + 0.5j) for eye in eyes.both())
    scale = (second - first) / (right - left)
    return scale, first - scale * left


def _refused(name: str, why: str, remedy: str) -> FerError:
    return FerError(f"{name} is no photo that can be read here: {why}; {remedy}.")


def _on_white(opened: Image.Image) -> Image.Image:
    """An image as RGB of 8 bits, without its notes, on a white ground."""
    if opened.mode in _SIXTEEN:
        opened = Image.fromarray((np.asarray(opened) >> 8).astype(np.uint8))
    image = opened.convert("RGBA" if opened.has_transparency_data else "RGB")
    white = Image.new("RGB", image.size, "white")
    white.paste(image, mask=image if image.mode == "RGBA" else None)
    return white


def _boxes(image: Image.Image, longest: int) -> np.ndarray:
    """Faces in a copy of which the longer side has ``longest`` pixels: (N, 3), x, y and width as shares of that side."""
    copy = image.resize([max(1, round(longest * n / max(image.size))) for n in image.size])
    side = min(copy.size)
    if side < WINDOW:
        return np.empty((0, 3))
    sizes = {"min_size": (max(WINDOW, side // 8),) * 2, "max_size": (side, side)}
    found = _detector().detect_multi_scale(np.asarray(copy), scale_factor=1.1, step_ratio=1, **sizes)
    return np.array([(box["c"], box["r"], box["width"]) for box in found]).reshape(-1, 3) / longest


def _overlap(one: np.ndarray, other: np.ndarray) -> float:
    """Of two squares (x, y, width): what they share, as a share of what they cover."""
    first, last = np.maximum(one[:2], other[:2]), np.minimum(one[:2] + one[2], other[:2] + other[2])
    shared = np.prod((last - first).clip(0))
    return shared / (one[2] ** 2 + other[2] ** 2 - shared)


@cache
def _detector() -> Cascade:
    return Cascade(lbp_frontal_face_cascade_filename())
