"""What the training loop watches in an epoch: the mean of every loss term, and whether it is a number."""

import torch
from torch import Tensor

from fer_lib.errors import FerError
from fer_lib.methods.method import Term
from fer_lib.parallel import all_sum


class Watch:
    """Sums of loss terms on the device, and the step at which each stopped being a number.

    Explained in: book/reruns.md
    """

    def __init__(self):
        self.sums: dict[str, Tensor] = {}
        self.good: dict[str, Tensor] = {}
        self.steps: dict[str, int] = {}

    def see(self, player: str, terms: dict[str, Term], share: Tensor | float) -> None:
        """Add the terms of one step, of a slice that is this ``share`` of the batch."""
        values = all_sum(share * torch.stack([value.detach().float() for value, _ in terms.values()]))
        for term, value in zip(terms, values.unbind(), strict=True):
            name = f"{player}/{term}"
            zero = torch.zeros((), device=value.device)
            self.sums[name] = self.sums.get(name, zero) + value
            self.good[name] = self.good.get(name, zero) + self.sums[name].isfinite()
            self.steps[name] = self.steps.get(name, 0) + 1

    def means(self, where: str) -> dict[str, float]:
        """The mean of each term over the steps.

        Raises:
            FerError: if one is not a number; the sentence says which, from which step, and ``where``.
        """
        good = {name: int(tensor) for name, tensor in self.good.items()}
        bad = [name for name in good if good[name] < self.steps[name]]
        if bad:
            first = min(bad, key=good.get)
            raise FerError(
                f"The loss term '{first}' is not a number from step {good[first] + 1} of {where} on: "
                "lower lr, raise warmup, or train with precision=fp32."
            )
        return {name: float(total) / self.steps[name] for name, total in self.sums.items()}
