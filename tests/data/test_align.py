"""The aligner: exact pixels at two sizes, the same face from any photo, eyes on the template."""

import math

import pytest
import torch

from fer_lib.data.align import EYES, TEMPLATE, align, alignment, eye_centres, moved
from fer_lib.errors import FerError

NAN = float("nan")


def five(*eyes: float) -> torch.Tensor:
    """One row of five landmarks of which only the eyes are known."""
    return torch.tensor([[eyes[:2], eyes[2:], *[(NAN, NAN)] * 3]])


def somewhere(faces: int, points: int, generator: torch.Generator) -> torch.Tensor:
    """Points anywhere in the unit square, but each left eye left of the right one."""
    landmarks = torch.rand(faces, points, 2, generator=generator)
    for rows, shift in zip(EYES[points], (0, 0.5), strict=True):
        landmarks[:, list(rows), 0] = landmarks[:, list(rows), 0] / 2 + shift
    return landmarks


def target(size: int) -> torch.Tensor:
    return torch.tensor(TEMPLATE, dtype=torch.float64) * size - 0.5


def squares() -> torch.Tensor:
    """A photo 64 wide and 48 high: grey, with a red, a green and a blue square and a white line."""
    photo = torch.full((1, 3, 48, 64), 40, dtype=torch.uint8)
    for (x, y), colour in {(10, 11): (240, 20, 30), (25, 11): (10, 200, 60), (41, 11): (0, 30, 254)}.items():
        photo[0, :, y : y + 7, x : x + 7] = torch.tensor(colour, dtype=torch.uint8)[:, None, None]
    photo[0, :, 31] = 254
    return photo


# What align makes of it; the eyes' distance is 16, so that side 50 is 1:1, side 25 a half.
EYES_OF_SQUARES = five(20.5, 16.5, 36.5, 16.5)
GOLDEN = {
    50: {
        "row": 12,
        "at": 8,
        "red": [40] * 6 + [240] * 7 + [40] * 8 + [10] * 7 + [40] * 9 + [0] * 7 + [40] * 6,
        "green": [40] * 6 + [20] * 7 + [40] * 8 + [200] * 7 + [40] * 9 + [30] * 7 + [40] * 6,
        "blue": [40] * 6 + [30] * 7 + [40] * 8 + [60] * 7 + [40] * 9 + [254] * 7 + [40] * 6,
        "column": [40] * 10 + [240] * 7 + [40] * 13 + [254] + [40] * 19,
    },
    25: {
        "row": 6,
        "at": 4,
        "red": [40] * 3 + [240] * 3 + [140] + [40] * 3 + [25] + [10] * 3 + [40] * 4 + [20] + [0] * 3 + [40] * 3,
        "green": [40] * 3 + [20] * 3 + [30] + [40] * 3 + [120] + [200] * 3 + [40] * 4 + [35] + [30] * 3 + [40] * 3,
        "blue": [40] * 3 + [30] * 3 + [35] + [40] * 3 + [50] + [60] * 3 + [40] * 4 + [147] + [254] * 3 + [40] * 3,
        "column": [40] * 5 + [240] * 3 + [140] + [40] * 6 + [147] + [40] * 9,
    },
}


@pytest.mark.parametrize("size", GOLDEN)
def test_golden_pixels(size):
    (image,), _ = align(squares(), EYES_OF_SQUARES, size)
    expected = GOLDEN[size]
    for plane, colour in zip(image, ("red", "green", "blue"), strict=True):
        assert plane[expected["row"]].tolist() == expected[colour], colour
    assert image[0, :, expected["at"]].tolist() == expected["column"]


def test_a_picture_that_fits_comes_out_unchanged():
    photo = torch.randint(0, 256, (2, 3, 50, 50), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    landmarks = five(*target(50).flatten().tolist()).repeat(2, 1, 1)
    images, points = align(photo, landmarks, 50)
    assert torch.equal(images, photo) and torch.allclose(points[:, :2], landmarks[:, :2], atol=1e-5)


def scene(matrix: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """A smooth landscape seen through a transform of the plane (2, 3), as uint8 (1, 3, H, W)."""
    y, x = torch.meshgrid(torch.arange(height) + 0.0, torch.arange(width) + 0.0, indexing="ij")
    x, y = (matrix[i, 0] * x + matrix[i, 1] * y + matrix[i, 2] for i in (0, 1))
    planes = [torch.sin(x / 9 + k) * torch.cos(y / (7 + k)) * 100 + 128 for k in range(3)]
    return torch.stack(planes)[None].round().to(torch.uint8)


@pytest.mark.parametrize(("degrees", "scale", "shift"), [(0, 1, (0, 0)), (17, 1.3, (8, -5)), (-40, 0.7, (30, 12)), (9, 2.6, (2, 2))])
def test_turning_scaling_and_shifting_the_photo_changes_nothing(degrees, scale, shift):
    angle = math.radians(degrees)
    turn = torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]) / scale
    matrix = torch.cat([turn, torch.tensor([[40.0], [40.0]]) - turn @ torch.tensor([[90.0 + shift[0]], [80.0 + shift[1]]])], 1)
    eyes = torch.tensor([[34.0, 40.0], [48.0, 42.0]])
    seen = (torch.linalg.inv(turn) @ (eyes - matrix[:, 2]).T).T
    (image,), _ = align(scene(matrix, 180, 210), five(*seen.flatten().tolist()), 40)
    (plain,), _ = align(scene(torch.eye(3)[:2], 100, 100), five(*eyes.flatten().tolist()), 40)
    assert (image.int() - plain.int()).abs().max() <= 5


@pytest.mark.parametrize("points", EYES)
@pytest.mark.parametrize("size", [48, 112, 225])
def test_eyes_land_on_the_template(points, size):
    landmarks = somewhere(6, points, torch.Generator().manual_seed(points)) * 300
    image, after = align(torch.zeros(6, 1, 90, 300, dtype=torch.uint8), landmarks, size)
    assert image.shape == (6, 1, size, size) and after.dtype == torch.float32
    assert (eye_centres(after) - target(size)).abs().max() < 0.01
    matrix = alignment(landmarks, size)
    assert torch.equal(moved(landmarks, matrix), after)
    turn = matrix[:, :, :2]
    assert (torch.linalg.det(turn) > 0).all(), "a mirror image"
    assert torch.allclose(turn @ turn.mT, torch.linalg.det(turn)[:, None, None] * torch.eye(2, dtype=torch.float64))


def test_the_mouth_decides_nothing():
    landmarks = somewhere(1, 68, torch.Generator().manual_seed(0)) * 90
    smiling = landmarks.clone()
    smiling[:, 48:] += 7
    assert torch.equal(alignment(landmarks, 64), alignment(smiling, 64))


def test_sixty_eight_points_have_the_middle_of_six_around_each_eye():
    landmarks = torch.full((1, 68, 2), NAN)
    landmarks[0, 36:42], landmarks[0, 42:48] = torch.tensor([10.0, 20.0]), torch.tensor([40.0, 22.0])
    landmarks[0, 36] += 6
    assert eye_centres(landmarks).tolist() == [[[11, 21], [40, 22]]]


def test_fine_patterns_do_not_turn_into_coarse_ones():
    board = ((torch.arange(540)[:, None] + torch.arange(540)) % 2 * 255).to(torch.uint8)[None, None]
    (image,), _ = align(board, five(227, 250, 312, 247), 48)
    assert (image.int() - 127).abs().max() < 12


def test_a_face_does_not_depend_on_its_batch(monkeypatch):
    generator = torch.Generator().manual_seed(2)
    images = torch.randint(0, 256, (9, 3, 70, 90), dtype=torch.uint8, generator=generator)
    landmarks = somewhere(9, 5, generator) * 70
    together = align(images, landmarks, 32)[0]
    assert all(torch.equal(align(images[i : i + 1], landmarks[i : i + 1], 32)[0][0], together[i]) for i in range(9))
    monkeypatch.setattr("fer_lib.data.align.SAMPLES", 7000)
    assert torch.equal(align(images, landmarks, 32)[0], together)


def test_no_faces_are_no_fault():
    images, points = align(torch.zeros(0, 1, 9, 9, dtype=torch.uint8), torch.zeros(0, 5, 2), 16)
    assert images.shape == (0, 1, 16, 16) and points.shape == (0, 5, 2)


ONE = torch.zeros(1, 3, 9, 9, dtype=torch.uint8)
BAD = {
    "no eyes": (ONE, five(1, 2, NAN, 2), "Face 0 of 1 has no place for an eye (NaN): mark both eyes, or leave it out."),
    "one eye": (ONE, five(1, 2, 1, 2), "Face 0 of 1 has both eyes at one place: mark them anew, or leave it out."),
    "an eye nowhere": (
        ONE,
        five(1, 2, 1, float("inf")),
        "Face 0 of 1 has no place for an eye (NaN): mark both eyes, or leave it out.",
    ),
    "an eye far away": (
        ONE,
        five(1, 2, 1, -1000001),
        "Face 0 of 1 has an eye beyond 1,000,000 pixels: mark it anew, or leave it out.",
    ),
    "eyes exchanged": (
        torch.cat([ONE, ONE]),
        torch.cat([five(1, 2, 1, 4), five(5, 2, 4.9, 7)]),
        "Face 1 of 2 has its left eye right of the right one; left means left in the picture: exchange them.",
    ),
    "six points": (
        ONE,
        torch.zeros(1, 6, 2),
        "Landmarks must be (N, P, 2) with P = 5, 68 or 189, not (1, 6, 2): give one of these schemes.",
    ),
    "float": (
        ONE.float(),
        five(1, 2, 5, 2),
        "Images must be uint8 (N, C, H, W), a row of landmarks each, not float32 (1, 3, 9, 9): reshape them.",
    ),
    "one photo for two faces": (
        ONE,
        five(1, 2, 5, 2).repeat(2, 1, 1),
        "Images must be uint8 (N, C, H, W), a row of landmarks each, not uint8 (1, 3, 9, 9): reshape them.",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_aligned_says_why(case):
    images, landmarks, sentence = BAD[case]
    with pytest.raises(FerError) as error:
        align(images, landmarks, 24)
    assert str(error.value) == sentence


@pytest.mark.parametrize("size", [0, -3])
def test_a_size_below_one_is_refused(size):
    expected = f"Aligned pictures cannot be {size} pixels wide: give a size of 1 or more."
    for action in (lambda: align(ONE, five(1, 2, 5, 2), size), lambda: alignment(five(1, 2, 5, 2), size)):
        with pytest.raises(FerError) as error:
            action()
        assert str(error.value) == expected
