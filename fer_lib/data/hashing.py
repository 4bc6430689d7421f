"""Random numbers without a state: each is a pure function of a seed and counters.

The mixing function is SplitMix64 (Steele, Lea & Flood, 2014) on int64 tensors,
whose products wrap around alike on every device.
"""

import torch
from torch import Tensor


def _signed(value: int) -> int:
    value &= (1 << 64) - 1
    return value - (1 << 64) if value >> 63 else value


_STEP = _signed(0x9E3779B97F4A7C15)
_FIRST = _signed(0xBF58476D1CE4E5B9)
_SECOND = _signed(0x94D049BB133111EB)


def bits(seed: int, *counters: int | Tensor) -> Tensor:
    """64 random bits for each combination of counters.

    Put the counter with most values (a pixel) last: the ones before it are then
    mixed once for all its values.

    Args:
        seed: any integer.
        counters: integers or int64 tensors that broadcast together, at least one a tensor.

    Returns:
        int64, of the shape to which the counters broadcast.

    Explained in: book/faces.ipynb
    """
    state: int | Tensor = _mix(seed + _STEP)
    for counter in counters:
        state = _mix((state ^ counter) * _STEP)
    return state


def uniform(seed: int, *counters: int | Tensor) -> Tensor:
    """Numbers uniform in (0, 1), the same bits on every device and in every batch.

    Both ends are left out, so that logarithms and quantiles stay finite: the
    numbers are the 2^23 odd multiples of 2^-24.

    Args:
        seed: any integer.
        counters: as for :func:`bits`.

    Returns:
        float32, of the shape to which the counters broadcast.

    Explained in: book/faces.ipynb
    """
    top = (bits(seed, *counters) >> 41).bitwise_and_((1 << 23) - 1)
    return top.float().add_(0.5).mul_(2.0**-23)


def normal(seed: int, *counters: int | Tensor) -> Tensor:
    """Standard normal numbers, by the inverse of the distribution function.

    They end at 5.3 standard deviations, and agree between devices to rounding.

    Args:
        seed: any integer.
        counters: as for :func:`bits`.

    Returns:
        float32, of the shape to which the counters broadcast.

    Explained in: book/faces.ipynb
    """
    return torch.special.ndtri(uniform(seed, *counters))


def _mix(x: int | Tensor) -> int | Tensor:
    if isinstance(x, int):
        return int(_mix(torch.tensor(_signed(x))))
    # In place: memory for temporary results is most of the cost.
    x = _shift(x, 30).bitwise_xor_(x).mul_(_FIRST)
    x = _shift(x, 27).bitwise_xor_(x).mul_(_SECOND)
    return _shift(x, 31).bitwise_xor_(x)


def _shift(x: Tensor, count: int) -> Tensor:
    return (x >> count).bitwise_and_((1 << (64 - count)) - 1)
