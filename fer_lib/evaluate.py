"""What a recognizer is worth: metrics, their intervals, and a paired test.

SciPy, statsmodels, scikit-learn and TorchMetrics are imported where they are used, here and in the methods: together they
take more than a second, and most runs use none of them.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from fer_lib.data.loader import Loader
from fer_lib.emotions import NAMES

RESAMPLES = 1000


@torch.inference_mode()
def predict(method: nn.Module, loader: Loader) -> tuple[Tensor, Tensor]:
    """Logits and labels of every face, in the loader's order, in float32.

    The method is put in evaluation mode and back. An image's logits do not depend on the others in
    its batch, unless the method has a batch mean, as row C3 of CLCL.

    Returns:
        logits float32 (N, K) and labels int64 (N,), on the CPU.

    Explained in: book/baseline.ipynb
    """
    was_training = method.training
    method.eval()
    rows = [(method(batch.image).logits.float().cpu(), batch.label.cpu()) for batch in loader.epoch()]
    method.train(was_training)
    return torch.cat([logits for logits, _ in rows]), torch.cat([labels for _, labels in rows])


@dataclass(frozen=True)
class Scores:
    """Figures of one set of predictions, each a share in [0, 1].

    Attributes:
        values: ``accuracy``, ``macro_recall`` (mean of the classes' recalls, classes
            without a face left out), ``calibration_error`` and ``recall_<emotion>``.
        intervals: the 95 % bootstrap interval of each, (low, high).
        confusion: (K, K) counts, rows the truth, columns the prediction.

    Explained in: book/baseline.ipynb
    """

    values: dict[str, float]
    intervals: dict[str, tuple[float, float]]
    confusion: list[list[int]]


def score(logits: Tensor, labels: Tensor, seed: int = 0) -> Scores:
    """All metrics of one set of predictions, with percentile bootstrap intervals over the faces.

    The interval says how far the figure would move with another draw of test
    faces, for this one trained network; it does not know of other seeds.

    Args:
        logits: (N, K); labels: int64 (N,); N at least 1.
        seed: of the resampling.

    Source: bootstrap [efron1993introduction], calibration error with 15 bins [guo2017calibration].

    Explained in: book/baseline.ipynb
    """
    classes = logits.shape[1]
    probability, predicted = logits.softmax(1).max(1)
    truth, guess = labels.numpy(), predicted.numpy()
    confidence, hit = probability.double().numpy(), (predicted == labels).numpy()
    values = _figures(_confusion(truth, guess, classes))
    values["calibration_error"] = calibration_error(confidence, hit)
    rng, samples = np.random.default_rng(seed), []
    for _ in range(RESAMPLES):
        i = rng.integers(0, len(truth), len(truth))
        figures = _figures(_confusion(truth[i], guess[i], classes))
        figures["calibration_error"] = calibration_error(confidence[i], hit[i])
        samples.append(figures)
    intervals = {name: _percentiles([sample.get(name, np.nan) for sample in samples]) for name in values}
    return Scores(values, intervals, _confusion(truth, guess, classes).tolist())


def calibration_error(confidence: np.ndarray, hit: np.ndarray, bins: int = 15) -> float:
    r"""Expected calibration error [guo2017calibration]: how far the probabilities are from the truth.

    .. math:: \sum_m \frac{|B_m|}{N}\,\bigl|\operatorname{acc}(B_m)-\operatorname{conf}(B_m)\bigr|

    with :math:`B_m` the faces whose winning probability lies in the m-th of ``bins`` equal
    intervals. It leans upward on few faces: a perfect recognizer does not get 0.

    Args:
        confidence: (N,), the winning class's probability; hit: bool (N,), whether it is right.

    Explained in: book/baseline.ipynb
    """
    which = np.minimum((confidence * bins).astype(int), bins - 1)
    gap = np.bincount(which, confidence, bins) - np.bincount(which, hit, bins)
    return float(np.abs(gap).sum() / len(hit))


@dataclass(frozen=True)
class PairedTest:
    """Exact McNemar test of two recognizers on the same faces.

    Attributes:
        only_first, only_second: faces that one alone gets right.
        p_value: two-sided, of so uneven a split if both were equally good.

    Explained in: book/baseline.ipynb
    """

    only_first: int
    only_second: int
    p_value: float


def paired_test(first: Tensor, second: Tensor) -> PairedTest:
    """Compare two runs on the same faces [mcnemar1947note].

    Args:
        first, second: bool (N,), whether each face was named correctly, same order.

    Explained in: book/baseline.ipynb
    """
    from statsmodels.stats.contingency_tables import mcnemar

    only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
    p_value = float(mcnemar([[0, only_first], [only_second, 0]], exact=True).pvalue)
    return PairedTest(only_first, only_second, min(p_value, 1.0))


def mean_interval(values: list[float]) -> tuple[float, float, float]:
    """Mean over seeds and its 95 % interval by Student's t: (mean, low, high).

    One value alone has no interval: low and high are then NaN.

    Explained in: book/baseline.ipynb
    """
    from scipy.stats import t as student

    mean = float(np.mean(values))
    if len(values) < 2:
        return mean, float("nan"), float("nan")
    half = float(student.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / np.sqrt(len(values)))
    return mean, mean - half, mean + half


def _confusion(truth: np.ndarray, guess: np.ndarray, classes: int) -> np.ndarray:
    return np.bincount(truth * classes + guess, minlength=classes**2).reshape(classes, classes)


def _figures(confusion: np.ndarray) -> dict[str, float]:
    faces = confusion.sum(axis=1)
    recalls = {NAMES[k]: confusion[k, k] / faces[k] for k in range(len(confusion)) if faces[k]}
    return {
        "accuracy": float(np.trace(confusion) / faces.sum()),
        "macro_recall": float(np.mean(list(recalls.values()))),
        **{f"recall_{name}": float(recall) for name, recall in recalls.items()},
    }


def _percentiles(values: list[float]) -> tuple[float, float]:
    low, high = np.nanpercentile(values, [2.5, 97.5])
    return float(low), float(high)
