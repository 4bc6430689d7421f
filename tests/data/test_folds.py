"""Folds: every person in one, none in two, alike however the faces are ordered."""

import numpy as np
import pytest

from fer_lib.data.folds import in_split, person_folds
from fer_lib.errors import FerError

PEOPLE = [f"S{k:03}" for k in range(40) for _ in range(1 + k % 5)]


def test_a_person_is_in_one_fold_and_every_fold_has_people():
    folds = person_folds(PEOPLE)
    assert {len(set(folds[np.array(PEOPLE) == name])) for name in PEOPLE} == {1}
    assert set(folds) == set(range(10)) and np.ptp(np.bincount(folds)) <= 2


def test_order_does_not_matter():
    order = np.random.default_rng(0).permutation(len(PEOPLE))
    assert np.array_equal(person_folds([PEOPLE[i] for i in order]), person_folds(PEOPLE)[order])


@pytest.mark.parametrize("fold", range(10))
def test_splits_share_nobody_and_miss_nobody(fold):
    folds = person_folds(PEOPLE)
    masks = [in_split(folds, split, fold) for split in ("train", "val", "test")]
    assert np.array_equal(sum(mask.astype(int) for mask in masks), np.ones(len(PEOPLE)))
    named = [{name for name, inside in zip(PEOPLE, mask) if inside} for mask in masks]
    assert all(named) and not (named[0] & named[1] or named[0] & named[2] or named[1] & named[2])


def test_everyone_is_tested_once():
    folds = person_folds(PEOPLE)
    assert np.array_equal(sum(in_split(folds, "test", k).astype(int) for k in range(10)), np.ones(len(PEOPLE)))


def test_too_few_people():
    with pytest.raises(FerError, match="3 people cannot be split into 10 folds"):
        person_folds(["a", "b", "c", "c"])


def test_the_folds_of_published_numbers_stay():
    """Written out: whoever changes the assignment changes what every published fold means."""
    people = sorted(set(PEOPLE))
    folds = person_folds(PEOPLE)
    assert [int(folds[PEOPLE.index(name)]) for name in people] == [
        3, 3, 6, 3, 6, 0, 9, 5, 9, 2, 2, 9, 5, 8, 5, 6, 8, 4, 0, 1,
        5, 2, 4, 2, 4, 4, 1, 7, 9, 7, 7, 8, 6, 8, 0, 1, 0, 7, 1, 3,
    ]  # fmt: skip
    assert person_folds(["KA", "KL", "KM", "KR", "MK", "NA", "NM", "TM", "UY", "YM"]).tolist() == [2, 6, 8, 9, 4, 0, 5, 7, 1, 3]


def test_one_person():
    with pytest.raises(FerError, match="^1 person cannot be split into 10 folds: complete the dataset.$"):
        person_folds(["a", "a"])
