"""Squares cut out of pictures of any form."""

import numpy as np
import pytest

from fer_lib.data.square import square

PICTURE = np.random.default_rng(0).integers(0, 256, (3, 60, 90), np.uint8)


def test_a_part_of_the_size_keeps_its_pixels():
    assert (square(PICTURE, 60) == PICTURE[:, :, 15:75]).all()
    assert (square(PICTURE, 20, (30, 10, 20, 20)) == PICTURE[:, 10:30, 30:50]).all()
    assert (square(PICTURE[:1], 20, (30, 10, 20, 10)) == PICTURE[:1, 5:25, 30:50]).all(), "the longer side, same centre"


@pytest.mark.parametrize(
    ("box", "rows", "columns"),
    [
        ((-5, -5, 20, 20), slice(0, 20), slice(0, 20)),
        ((80, 55, 20, 20), slice(40, 60), slice(70, 90)),
        ((-100, -100, 1000, 1000), slice(0, 60), slice(30, 90)),
    ],
)
def test_a_box_over_the_edge_moves_inside(box, rows, columns):
    part = PICTURE[:, rows, columns]
    assert (square(PICTURE, part.shape[1], box) == part).all()


@pytest.mark.parametrize("channels", [1, 3])
def test_what_is_resized_keeps_place_and_colour(channels):
    picture = np.zeros((channels, 40, 60), np.uint8) + np.array([250, 120, 20], np.uint8)[:channels, None, None]
    picture[:, :, 30:] = 0
    found = square(picture, 80)
    assert found.shape == (channels, 80, 80) and found.dtype == np.uint8
    assert (found[:, :, :36] == picture[:, :1, :1]).all() and (found[:, :, 44:] == 0).all()


def test_shrinking_smooths():
    stripes = np.zeros((1, 64, 64), np.uint8)
    stripes[:, :, ::2] = 255
    assert np.abs(square(stripes, 16).astype(int)[:, :, 2:-2] - 127).max() < 12


@pytest.mark.parametrize("box", [(0, 0, 0, 5), (90, 0, 5, 5), (0, -9, 5, 9), (0, 0, np.nan, 5), (-np.inf, 0, np.inf, 9)])
def test_a_box_that_shows_nothing(box):
    with pytest.raises(ValueError, match="does not meet the picture of 90x60 pixels"):
        square(PICTURE, 20, box)
