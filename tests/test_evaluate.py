"""Metrics against hand counts, intervals against theory, the paired test against the binomial."""

import numpy as np
import pytest
import torch
from scipy.stats import binomtest
from torch import nn
from torchmetrics.functional.classification import multiclass_calibration_error

from fer_lib.data.loader import Loader
from fer_lib.evaluate import mean_interval, paired_test, predict, score
from fer_lib.methods.method import Prediction


def as_logits(guess, classes, confidence=5.0):
    return torch.nn.functional.one_hot(torch.tensor(guess), classes).float() * confidence


def test_figures_by_hand():
    truth = torch.tensor([0, 0, 0, 0, 1, 1, 2, 2])
    scores = score(as_logits([0, 0, 0, 1, 1, 0, 2, 2], 4), truth)
    assert scores.values["accuracy"] == pytest.approx(6 / 8)
    assert scores.values["recall_neutral"] == pytest.approx(3 / 4)
    assert scores.values["recall_happiness"] == pytest.approx(1 / 2)
    assert scores.values["macro_recall"] == pytest.approx((3 / 4 + 1 / 2 + 1) / 3)  # class 3 has no face
    assert "recall_sadness" not in scores.values
    assert scores.confusion == [[3, 1, 0, 0], [1, 1, 0, 0], [0, 0, 2, 0], [0, 0, 0, 0]]


def test_calibration_error_by_hand():
    logits = torch.tensor([0.8, 0.8, 0.8, 0.8]).log()[:, None] * torch.tensor([[1.0, 0.0]])
    logits[:, 1] = np.log(0.2)
    scores = score(logits, torch.tensor([0, 0, 1, 1]))
    assert scores.values["calibration_error"] == pytest.approx(0.3, abs=1e-5)


def test_calibration_error_against_torchmetrics():
    generator = torch.Generator().manual_seed(0)
    logits, truth = 2 * torch.randn(500, 8, generator=generator), torch.randint(0, 8, (500,), generator=generator)
    expected = multiclass_calibration_error(logits.softmax(1), truth, 8, n_bins=15)
    scores = score(logits, truth)
    assert scores.values["calibration_error"] == pytest.approx(float(expected), abs=1e-6)
    low, high = scores.intervals["calibration_error"]
    assert low < high


def test_interval_has_the_size_that_theory_gives():
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 2, 2000)
    guess = np.where(rng.random(2000) < 0.8, truth, 1 - truth)
    low, high = score(as_logits(guess, 2), torch.tensor(truth)).intervals["accuracy"]
    hits = (guess == truth).mean()
    half = 1.96 * np.sqrt(hits * (1 - hits) / 2000)
    assert (low, high) == (pytest.approx(hits - half, abs=0.004), pytest.approx(hits + half, abs=0.004))


def test_every_interval_holds_its_figure_and_repeats():
    generator = torch.Generator().manual_seed(0)
    logits, truth = torch.randn(300, 8, generator=generator), torch.randint(0, 8, (300,), generator=generator)
    first, again = score(logits, truth, seed=1), score(logits, truth, seed=1)
    assert first == again
    for name, value in first.values.items():
        low, high = first.intervals[name]
        assert low < high and (low <= value <= high or name == "calibration_error")


def test_paired_test_is_the_exact_binomial():
    first = torch.tensor([True] * 30 + [False] * 20)
    second = torch.tensor([True] * 18 + [False] * 12 + [True] * 4 + [False] * 16)
    test = paired_test(first, second)
    assert (test.only_first, test.only_second) == (12, 4)
    assert test.p_value == pytest.approx(binomtest(4, 16, 0.5).pvalue)
    assert paired_test(first, first).p_value == 1.0


def test_mean_interval():
    mean, low, high = mean_interval([0.80, 0.82, 0.84])
    assert mean == pytest.approx(0.82)
    assert high - mean == pytest.approx(4.3027 * 0.02 / np.sqrt(3), rel=1e-4)
    assert mean - low == pytest.approx(high - mean)
    assert np.isnan(mean_interval([0.5])[1])


class Neighbours(nn.Module):
    """A head of the kind the book warns of: it adds the batch's mean score."""

    def forward(self, image):
        logits = image.mean((2, 3))
        return Prediction(logits + logits.mean(0))


def test_predict_keeps_order_and_mode_and_shows_batch_dependence(blobs):
    faces, method = blobs(20), Neighbours()
    together, labels = predict(method, Loader(faces, 20))
    alone, _ = predict(method, Loader(faces, 1))
    assert torch.equal(labels, faces.labels) and method.training
    assert (together - alone).abs().max() > 1e-3
