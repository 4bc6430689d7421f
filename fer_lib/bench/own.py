"""``fer_lib``'s own training and prediction, with and without the cost of the data."""

from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from itertools import islice

import torch

from fer_lib.bench.timing import stopwatch
from fer_lib.data.faceset import FaceSet
from fer_lib.data.loader import Augmentation, Batch, Loader
from fer_lib.evaluate import predict
from fer_lib.methods.method import Method
from fer_lib.recipe import Recipe
from fer_lib.train import fit


class Held:
    """A loader whose batches are the first one of another loader, again and again: the network works as ever, the data costs nothing.

    Explained in: book/speed.md
    """

    def __init__(self, loader: Loader):
        self.faces, self.device, self.steps = loader.faces, loader.device, len(loader)
        self.first = next(loader.epoch())

    def __len__(self) -> int:
        return self.steps

    def epoch(self, number: int = 0) -> Iterator[Batch]:
        """As many batches as the other loader has; each is a new object with the same tensors."""
        return (replace(self.first) for _ in range(self.steps))


class Begun:
    """A loader with an epoch of one batch before its own.

    :func:`fer_lib.train.fit` makes new optimizers, which fill their memory in the first step; the public recipe keeps its own.

    Explained in: book/speed.md
    """

    def __init__(self, loader: Loader | Held):
        self.faces, self.device, self.loader = loader.faces, loader.device, loader

    def __len__(self) -> int:
        return len(self.loader)

    def epoch(self, number: int = 0) -> Iterator[Batch]:
        """One batch, if the number is 0, else all."""
        return islice(self.loader.epoch(number), None if number else 1)


class OwnRecipe:
    """``fer_lib`` at work: :func:`fer_lib.train.fit` and :func:`fer_lib.evaluate.predict`; each measurement returns its seconds.

    Args:
        faces: labelled pictures.
        method: on its device, trained in place.
        recipe: with its batch size and image size; its epochs are one of a single batch, and the one that is measured.
        amounts: of augmentation in training.

    Explained in: book/speed.md
    """

    def __init__(self, faces: FaceSet, method: Method, device: torch.device, recipe: Recipe, amounts: Augmentation):
        self.method, self.device = method, device
        self.recipe = recipe.model_copy(update={"epochs": 2, "warmup": 0.0})
        batch, size = recipe.batch_size, recipe.size
        self.training = Loader(faces, batch, device, size, amounts, "shuffled")
        self.few = Loader(faces.subset(torch.arange(min(batch, 8))), batch, device, size)

    @cached_property
    def testing(self) -> Loader:
        """The faces as listed, not augmented; made when it is first needed."""
        return Loader(self.training.faces, self.training.batch_size, self.device, self.training.size)

    def train(self) -> float:
        """One epoch, without its validation."""
        return self._fit(self.training)

    def train_alone(self) -> float:
        """As many steps on one batch that is there already: the network without the data."""
        return self._fit(Held(self.training))

    def predict(self) -> float:
        """Predictions for all pictures."""
        return stopwatch(lambda: predict(self.method, self.testing), self.device)

    def predict_alone(self) -> float:
        """As many predictions for one batch that is there already."""
        held = Held(self.testing)
        return stopwatch(lambda: predict(self.method, held), self.device)

    def _fit(self, loader: Loader | Held) -> float:
        return fit(self.method, Begun(loader), self.few, self.recipe, log=_silent).history.epochs[-1]["seconds"]


def _silent(line: str) -> None:
    """Where the epochs' lines go."""
