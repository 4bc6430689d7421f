"""What is held out of training is a fixed share of every class, and whole groups."""

import numpy as np

from fer_lib.data.holdout import held_out

LABELS = [k for k, number in enumerate((400, 35, 14, 4, 2, 1)) for _ in range(number)]
NAMES = [f"{i:04d}.jpg" for i in range(len(LABELS))]


def test_one_in_ten_of_each_class_and_never_the_last():
    held = held_out(LABELS, NAMES)
    assert np.bincount(LABELS, weights=held).tolist() == [40, 4, 1, 1, 1, 0]


def test_order_does_not_matter_and_a_new_face_moves_few():
    order = np.random.default_rng(0).permutation(len(LABELS))
    held = held_out(LABELS, NAMES)
    assert np.array_equal(held_out([LABELS[i] for i in order], [NAMES[i] for i in order]), held[order])
    assert (held_out([*LABELS, 0], [*NAMES, "new.jpg"])[:-1] != held).sum() <= 2


def test_groups_stay_whole_and_shares_are_kept():
    rng = np.random.default_rng(1)
    labels, movies = rng.integers(0, 7, 900).tolist(), [f"movie {k}" for k in rng.integers(0, 60, 900)]
    held = held_out(labels, movies)
    assert all(len(set(held[np.array(movies) == movie])) == 1 for movie in movies)
    total, found = np.bincount(labels), np.bincount(labels, weights=held)
    assert (found >= 1).all() and (found <= np.round(total / 10 + 0.5)).all() and found.sum() > 0.05 * len(labels)


def test_large_groups_give_way_to_the_smallest_one_that_leaves_every_class():
    labels, movies = [0, 1] * 6 + [0, 1, 1], ["a"] * 4 + ["b"] * 8 + ["c"] * 3
    assert set(np.array(movies)[held_out(labels, movies) == 1]) == {"c"}
    assert not held_out([0, 1], ["only", "only"]).any()


def test_no_faces():
    assert held_out([], []).tolist() == []
