"""Stateless random numbers: the published mixing function, flat, and free of the batch."""

import math

import pytest
import torch

from fer_lib.data.hashing import bits, normal, uniform

WORD = (1 << 64) - 1


def splitmix(x: int) -> int:
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & WORD
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & WORD
    return x ^ (x >> 31)


def reference(seed: int, *counters: int) -> int:
    state = splitmix((seed + 0x9E3779B97F4A7C15) & WORD)
    for counter in counters:
        state = splitmix(((state ^ (counter & WORD)) * 0x9E3779B97F4A7C15) & WORD)
    return state


def test_the_bits_are_splitmix64_in_plain_integers():
    # The first output of the published generator started at 0.
    assert splitmix(0x9E3779B97F4A7C15) == 0xE220A8397B1DCDAF
    rows, columns = torch.tensor([[0], [3], [2**40]]), torch.tensor([0, 1, -7])
    for seed in (0, 1, -5, 2**63, 2**70 + 9):
        found = bits(seed, 4, rows, columns)
        for i, row in enumerate((0, 3, 2**40)):
            for j, column in enumerate((0, 1, -7)):
                assert int(found[i, j]) & WORD == reference(seed, 4, row, column)


def test_uniform_is_flat_open_and_without_correlation():
    u = uniform(0, 2, torch.arange(100)[:, None], torch.arange(4000))
    assert u.dtype == torch.float32 and u.shape == (100, 4000)
    assert 0 < u.min() and u.max() < 1
    shares = torch.histc(u, 20, 0, 1) / u.numel()
    assert (shares - 0.05).abs().max() < 5 * math.sqrt(0.05 * 0.95 / u.numel())
    others = [(u[:, 1:], u[:, :-1]), (u[1:], u[:-1])]
    others += [(u, uniform(seed, stream, *_grid())) for seed, stream in ((1, 2), (0, 3))]
    for a, b in others:
        both = torch.stack([a.flatten(), b.flatten()])
        assert abs(float(torch.corrcoef(both)[0, 1])) < 5 / math.sqrt(u.numel())


def _grid():
    return torch.arange(100)[:, None], torch.arange(4000)


def test_a_number_does_not_depend_on_what_is_drawn_with_it():
    rows, columns = _grid()
    whole = uniform(7, 1, rows, columns)
    assert torch.equal(whole[[5, 80]], uniform(7, 1, rows[[5, 80]], columns))
    assert torch.equal(whole[:, 17], uniform(7, 1, rows[:, 0], 17))


def test_normal_has_the_bell_shape():
    z = normal(0, torch.arange(400_000)).double()
    assert abs(z.mean()) < 0.01 and abs(z.std() - 1) < 0.01
    assert abs((z**3).mean()) < 0.03 and abs((z**4).mean() - 3) < 0.05
    assert z.abs().max() < 5.4


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
def test_a_gpu_draws_the_same_bits():
    rows, columns = _grid()
    assert torch.equal(bits(3, 1, rows.cuda(), columns.cuda()).cpu(), bits(3, 1, rows, columns))
    assert torch.equal(uniform(3, 1, rows.cuda(), columns.cuda()).cpu(), uniform(3, 1, rows, columns))
