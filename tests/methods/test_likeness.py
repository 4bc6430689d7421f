"""Correlations and distances by hand; the same person is found where there is one."""

import pytest
import torch

from fer_lib.methods.likeness import alike, class_means, nearest_person, person_probe, spread_ratio


def test_alike_is_the_correlation():
    torch.manual_seed(0)
    a, b = torch.rand(3, 3, 4, 4), torch.rand(3, 3, 4, 4)
    wanted = [torch.corrcoef(torch.stack([x.flatten(), y.flatten()]))[0, 1] for x, y in zip(a, b, strict=True)]
    assert torch.allclose(alike(a, b), torch.stack(wanted), atol=1e-6)
    assert torch.allclose(alike(a, 2 * a + 1), torch.ones(3), atol=1e-5) and alike(a, torch.ones_like(a)).abs().max() < 1e-3


def test_class_means_and_their_spread_by_hand():
    code = torch.tensor([[0.0, 0.0], [2.0, 0.0], [10.0, 0.0], [14.0, 0.0]])
    label = torch.tensor([1, 1, 3, 3])
    assert class_means(code, label)[:, 0].tolist() == [1, 1, 12, 12]
    assert spread_ratio(code, label) == pytest.approx(11 / 1.5)


def test_the_nearest_picture_of_the_same_person():
    torch.manual_seed(0)
    one, two = torch.rand(2, 3, 16, 16)
    gallery = torch.stack([one, 0.9 * one + 0.05, two, 0.8 * two])
    people = torch.tensor([4, 4, 9, 9])
    assert nearest_person(gallery, gallery, people) == 1
    assert nearest_person(gallery.flip(0), gallery, people) == 0
    assert nearest_person(gallery[:3], gallery[:3], torch.tensor([4, 4, 9])) == 1  # person 9 is there once, and not asked for
    single = torch.tensor([1, 2, 3, 4])
    strangers = torch.rand(4, 3, 16, 16)
    assert nearest_person(strangers, strangers, single) is None and nearest_person(strangers, strangers, single, own=True) == 1


def test_the_probe_finds_people_it_can_see():
    torch.manual_seed(0)
    people = torch.arange(10).repeat_interleave(4)
    features = torch.nn.functional.one_hot(people).float() + 0.01 * torch.randn(40, 10)
    share, chance = person_probe(features, people)
    assert share > 0.9 and chance == pytest.approx(0.1)
    assert person_probe(torch.randn(40, 10), people)[0] < 0.5
    assert person_probe(features[::4], people[::4]) is None
