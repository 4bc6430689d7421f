"""Random numbers by hashing: each is a pure function of (seed, stream, index, name)."""

import hashlib

import torch
from torch import Tensor


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


_GOLDEN = _signed(0x9E3779B97F4A7C15)
_FIRST = _signed(0xBF58476D1CE4E5B9)
_SECOND = _signed(0x94D049BB133111EB)


def _shift(x: Tensor, bits: int) -> Tensor:
    return (x >> bits) & ((1 << (64 - bits)) - 1)


def _mix(x: Tensor) -> Tensor:
    x = (x ^ _shift(x, 30)) * _FIRST
    x = (x ^ _shift(x, 27)) * _SECOND
    return x ^ _shift(x, 31)


def _code(text: str) -> int:
    return _signed(int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little"))


class Draws:
    """Named random numbers for each of N indices, the same on every device and in every batch.

    A number depends on ``seed``, ``stream``, its own index and its name, on
    nothing else, so asking for more of them or in another order changes none.
    The mixing function is SplitMix64 (Steele, Lea & Flood, 2014).

    Args:
        seed: any integer.
        stream: what the indices count, for instance ``person``.
        index: int64 (N,).

    Explained in: book/faces.ipynb
    """

    def __init__(self, seed: int, stream: str, index: Tensor):
        self.key = _mix(_mix(index.to(torch.int64) * _GOLDEN) ^ _code(f"{seed}/{stream}"))

    def bits(self, name: str) -> Tensor:
        """int64 (N,), 64 random bits."""
        return _mix(self.key ^ _code(name))

    def uniform(self, name: str, low: float = 0.0, high: float = 1.0) -> Tensor:
        """float32 (N,), uniform between ``low`` and ``high``."""
        return _unit(self.bits(name), 40, 24) * (high - low) + low

    def bell(self, name: str, mean: float = 0.0, spread: float = 1.0) -> Tensor:
        """float32 (N,), bell-shaped with that mean and standard deviation, never beyond 3 spreads."""
        bits = self.bits(name)
        total = _unit(bits, 43, 21) + _unit(bits, 22, 21) + _unit(bits, 1, 21)
        return (total - 1.5) * (2 * spread) + mean

    def pick(self, name: str, weights: Tensor | list[float]) -> Tensor:
        """int64 (N,), a choice with the given weights."""
        edges = torch.as_tensor(weights, dtype=torch.float64).cumsum(0)
        edges = (edges / edges[-1])[:-1].float().to(self.key.device)
        return torch.bucketize(self.uniform(name), edges, right=True)

    def chance(self, name: str, probability: float | Tensor) -> Tensor:
        """bool (N,), true with the given probability."""
        return self.uniform(name) < probability


def _unit(bits: Tensor, low: int, width: int) -> Tensor:
    return ((bits >> low) & ((1 << width) - 1)).float() * 2.0**-width
