"""Who is alike: correlation of pictures, distances of classes, and finding a person among others."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

ENOUGH_PEOPLE = 60  # among whom identity is asked for


def alike(first: Tensor, second: Tensor) -> Tensor:
    """Pearson's correlation of each row's numbers with those of the other's row; 0 where one does not vary.

    Shapes:
        two of (N, ...) -> (N,).

    Explained in: book/err_net.ipynb
    """
    a, b = (x.flatten(1) - x.flatten(1).mean(1, keepdim=True) for x in (first.float(), second.float()))
    return F.cosine_similarity(a, b, dim=1)


def class_means(rows: Tensor, label: Tensor) -> Tensor:
    """For each row, the mean of all rows of its class: (N, ...), int64 (N,) -> (N, ...).

    Explained in: book/err_net.ipynb
    """
    means = torch.empty_like(rows)
    for k in label.unique():
        means[label == k] = rows[label == k].mean(0)
    return means


def spread_ratio(code: Tensor, label: Tensor) -> float:
    """Mean distance between the classes' means, over the mean distance of a code from the mean of its class.

    Shapes:
        code (N, D), label int64 (N,), at least two classes -> a number, larger where classes lie further apart.

    Explained in: book/err_net.ipynb
    """
    means = torch.stack([code[label == k].mean(0) for k in label.unique()])
    within = (code - class_means(code, label)).norm(dim=1).mean()
    return (torch.pdist(means).mean() / within.clamp(min=1e-12)).item()


def nearest_person(query: Tensor, gallery: Tensor, people: Tensor, own: bool = False) -> float | None:
    """How often the nearest face of a gallery shows the same person.

    Nearest: largest correlation of grey pictures that were shrunk to a quarter.

    Args:
        query, gallery: (N, 3, H, W); people: int64 (N,). Row i of both stems from the same face.
        own: whether row i of the gallery may answer for query i; by default it is left out.

    Returns:
        A share, or ``None`` where nobody is in the gallery twice (with ``own``: where all is one person).

    Explained in: book/err_net.ipynb
    """
    same = people[:, None] == people
    here = torch.eye(len(people), dtype=torch.bool)
    some = (same if own else same & ~here).any(1)
    if not some.any() or same.all():
        return None
    small = [F.avg_pool2d(x.float().mean(1, keepdim=True), 4).flatten(1) for x in (query, gallery)]
    a, b = (F.normalize(x - x.mean(1, keepdim=True), dim=1) for x in small)
    near = a @ b.T if own else (a @ b.T).masked_fill(here, -2)
    return same[torch.arange(len(people)), near.argmax(1)][some].float().mean().item()


def person_probe(features: Tensor, people: Tensor) -> tuple[float, float] | None:
    """Accuracy of a logistic regression that names the person, on faces of theirs that it has not seen; and chance.

    Of the first ``ENOUGH_PEOPLE`` with two faces or more; half of each one's faces teach, the others ask.

    Shapes:
        features (N, D), people int64 (N,) -> two shares; ``None`` where fewer than two people have two faces.

    Explained in: book/err_net.ipynb
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    names, counts = people.unique(return_counts=True)
    names = names[counts > 1][:ENOUGH_PEOPLE]
    if len(names) < 2:
        return None
    some = torch.isin(people, names)
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=300))
    halves = StratifiedKFold(2, shuffle=True, random_state=0)
    return float(np.mean(cross_val_score(model, features[some].numpy(), people[some].numpy(), cv=halves))), 1 / len(names)
