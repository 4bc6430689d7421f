"""A degradation by its name, and in a loader."""

import pytest
import torch

from fer_lib.data.degradation import AMOUNTS, Degradation
from fer_lib.data.degrade import low_light, low_resolution
from fer_lib.data.loader import Loader
from fer_lib.errors import FerError
from fer_lib.recipe import Recipe

IMAGE, INDEX = torch.rand(6, 3, 32, 32, generator=torch.Generator().manual_seed(0)), torch.arange(6)


@pytest.mark.parametrize("text", [f"{kind}:{amount}" for kind in AMOUNTS for amount in AMOUNTS[kind]])
def test_every_name_makes_a_picture_that_depends_on_its_index_and_not_on_its_batch(text):
    spoil = Degradation.of(text)
    together = spoil(IMAGE, INDEX, 3)
    assert together.shape[-1] == (32 if spoil.kind == "low_light" else 32 // int(spoil.amount))
    assert torch.allclose(together[4:], spoil(IMAGE[4:], INDEX[4:], 3), atol=1e-6)


def test_names_call_the_functions():
    assert torch.equal(Degradation.of("low_light:mild")(IMAGE, INDEX, 5), low_light(IMAGE, "mild", INDEX, 5))
    assert torch.equal(Degradation.of("low_resolution:4")(IMAGE, INDEX), low_resolution(IMAGE, 4))
    assert Degradation.of("") is None


def test_one_after_the_other():
    spoil = Degradation.of("low_resolution:4+low_light:severe")
    assert torch.equal(spoil(IMAGE, INDEX, 5), low_light(low_resolution(IMAGE, 4), "severe", INDEX, 5))
    assert torch.allclose(spoil(IMAGE, INDEX, 5)[2:4], spoil(IMAGE[2:4], INDEX[2:4], 5), atol=1e-6)


def test_mixed_draws_all_three_severities():
    light = torch.full((60, 1, 4, 4), 0.8)
    mean = Degradation.of("low_light:mixed")(light, torch.arange(60)).mean((1, 2, 3))
    near = [(mean - low_light(light[:1], s, INDEX[:1]).mean()).abs() < 0.03 for s in ("mild", "medium", "severe")]
    assert all(8 < int(hits.sum()) < 32 for hits in near) and int(torch.stack(near).sum()) == 60
    mean = Degradation.of("low_light:any")(light, torch.arange(60)).mean((1, 2, 3))
    assert 6 < int(((mean - 0.8).abs() < 0.003).sum()) < 26, "a quarter is in good light"


@pytest.mark.parametrize("text, sentence", [
    ("fog:thick", "There is no degradation 'fog': choose one of low_light, low_resolution"),
    ("low_light:4", "There is no degradation 'low_light:4': choose one of low_light:mild"),
    ("low_light:mild+fog:thick", "There is no degradation 'fog'"),
    ("low_resolution", "There is no degradation 'low_resolution:': choose one of low_resolution:2"),
])  # fmt: skip
def test_an_unknown_name(text, sentence):
    with pytest.raises(FerError, match=sentence):
        Recipe(degrade=text)


def test_a_loader_keeps_the_clean_image_and_repeats_only_what_it_tests_with(blobs):
    spoil, faces = Degradation.of("low_light:severe"), blobs(16)
    first, again = (next(Loader(faces, 16, degrade=spoil).epoch(k)) for k in (0, 1))
    assert torch.equal(first.image, again.image) and torch.equal(first.clean, next(Loader(faces, 16).epoch()).image)
    one, two = (next(Loader(faces, 16, sampler="shuffled", degrade=spoil).epoch(k)) for k in (0, 1))
    one, two = (batch.image[batch.index.argsort()] for batch in (one, two))
    assert not torch.equal(one, two) and torch.equal(first.clean * 255, (first.clean * 255).round())


def test_at_low_resolution_the_image_alone_is_small(blobs):
    batch = next(Loader(blobs(4), 4, size=32, degrade=Degradation.of("low_resolution:4")).epoch())
    assert batch.image.shape[-1] == 8 and batch.clean.shape[-1] == 32
