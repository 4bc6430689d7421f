"""Probes by hand and against scikit-learn."""

import pytest
import torch
from sklearn.metrics import adjusted_rand_score

from fer_lib.methods.probes import PARTS, channel_parts, effective_rank, gradient_size, linear_probe, part_map, rand_index


def test_rand_index_equals_scikit_learn():
    generator = torch.Generator().manual_seed(0)
    first = torch.randint(0, 4, (6, 50), generator=generator)
    second = torch.where(torch.rand(6, 50, generator=generator) < 0.5, first, torch.randint(0, 5, (6, 50), generator=generator))
    expected = [adjusted_rand_score(a, b) for a, b in zip(first, second, strict=True)]
    assert torch.allclose(rand_index(first, second), torch.tensor(expected).double())
    assert rand_index(first, (first + 1) % 4).tolist() == [1.0] * 6
    assert rand_index(torch.zeros(1, 5, dtype=torch.int64), torch.zeros(1, 5, dtype=torch.int64)).isnan().all()


def test_a_probe_reads_what_is_there_and_no_person_by_heart():
    torch.manual_seed(0)
    people, labels = torch.arange(200) // 4, torch.randint(0, 4, (200,))
    clear = torch.nn.functional.one_hot(labels, 4) + 0.1 * torch.randn(200, 4)
    assert linear_probe(clear, labels, people) > 0.95
    per_person = torch.randint(0, 4, (50,))
    known_by_heart = torch.nn.functional.one_hot(people, 50).float()
    assert linear_probe(known_by_heart, per_person[people], people) < 0.45
    assert linear_probe(known_by_heart, per_person[people]) > 0.8


def test_gradient_size_by_hand_whatever_the_batch():
    for count in (1, 5):
        stages = [torch.ones(count, 2, 3, 3, requires_grad=True), torch.ones(count, 1, 2, 2, requires_grad=True)]
        loss = 6 * stages[0].mean(dim=(1, 2, 3)).mean()
        assert gradient_size(loss, stages) == [pytest.approx(6 / 18), 0.0]
    assert gradient_size(torch.ones(()), stages) == [0.0, 0.0]


def test_parts_of_the_face_by_the_nearest_landmark():
    landmarks = torch.full((1, 68, 2), 1000.0)
    for number, rows in enumerate(PARTS.values()):
        landmarks[0, list(rows)] = torch.tensor([4.0 * number, 0.0])
    parts = part_map(landmarks, 20, 5)
    assert parts.view(5, 5)[0].tolist() == [0, 1, 2, 3, 4] and parts.shape == (1, 25)
    stage = torch.zeros(1, 2, 5, 5)
    stage[0, 0, 0, 3], stage[0, 1, 2, 1] = 1.0, 1.0
    assert channel_parts(stage, parts).tolist() == [[3, 1]]


def test_effective_rank_counts_directions():
    torch.manual_seed(0)
    line = torch.linspace(-1, 1, 9)[:, None] * torch.tensor([1.0, 2.0, 3.0]) + 5
    ball = torch.randn(4000, 3)
    assert effective_rank(line[None]).item() == pytest.approx(1, abs=1e-3)
    assert effective_rank(ball[None]).item() == pytest.approx(3, abs=0.02)
    assert effective_rank(torch.ones(2, 5, 3)).tolist() == [0, 0]
    collapsed = torch.full((1, 50, 3), 5.0) + torch.tensor([1e-2, 0, 0]) * torch.randn(1, 50, 1)
    assert effective_rank(collapsed).item() == pytest.approx(1, abs=1e-3)
