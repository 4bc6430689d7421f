"""Named random numbers: each is a pure function of seed, stream, index and name."""

import hashlib

import torch
from torch import Tensor

from fer_lib.data import hashing


class Draws:
    """Named random numbers for each of N indices, the same on every device and in every batch.

    A number depends on ``seed``, ``stream``, its own index and its name, on
    nothing else, so asking for more of them or in another order changes none.

    Args:
        seed: any integer.
        stream: what the indices count, for instance ``person``.
        index: int64 (N,).

    Explained in: book/faces.ipynb
    """

    def __init__(self, seed: int, stream: str, index: Tensor):
        self.seed, self.stream, self.index = seed, stream, index

    def bits(self, name: str) -> Tensor:
        """int64 (N,), 64 random bits."""
        return hashing.bits(self.seed, self._code(name), self.index)

    def uniform(self, name: str, low: float = 0.0, high: float = 1.0) -> Tensor:
        """float32 (N,), uniform between ``low`` and ``high``."""
        return hashing.uniform(self.seed, self._code(name), self.index) * (high - low) + low

    def bell(self, name: str, mean: float = 0.0, spread: float = 1.0) -> Tensor:
        """float32 (N,), bell-shaped with that mean and standard deviation, never beyond 3 spreads.

        The sum of three uniform numbers: unlike the normal distribution's
        quantiles it takes exact operations only, and draws no monsters.
        """
        bits = self.bits(name)
        total = sum(((bits >> low) & ((1 << 21) - 1)).float() * 2.0**-21 for low in (43, 22, 1))
        return (total - 1.5) * (2 * spread) + mean

    def pick(self, name: str, weights: list[float]) -> Tensor:
        """int64 (N,), a choice with the given weights."""
        edges = torch.tensor(weights, dtype=torch.float64).cumsum(0)
        edges = (edges / edges[-1])[:-1].float().to(self.index.device)
        return torch.bucketize(self.uniform(name), edges, right=True)

    def chance(self, name: str, probability: float | Tensor) -> Tensor:
        """bool (N,), true with the given probability."""
        return self.uniform(name) < probability

    def _code(self, name: str) -> int:
        digest = hashlib.blake2b(f"{self.stream}/{name}".encode(), digest_size=8).digest()
        return int.from_bytes(digest, "little", signed=True)
