"""Partial faces show their expression where they should; the weights are watched from before the first step."""

import pytest
import torch

from fer_lib.data.faces import make_faces
from fer_lib.data.loader import Loader
from fer_lib.errors import FerError
from fer_lib.growth import changed_cells, grow, moves_the_mouth, partial_faces, weights_of
from fer_lib.parameters import Parameters


@pytest.fixture(scope="module")
def faces():
    return make_faces(24, "test", size=32, neutral=True)


def test_each_place_is_the_face_on_its_side_and_the_twin_on_the_other(faces):
    for place, point, below in (("mouth", 33, True), ("brows", 29, False)):
        part = partial_faces(faces, place)
        assert part.fingerprint != faces.fingerprint and torch.equal(part.labels, faces.labels)
        for k in range(len(faces)):
            edge = faces.landmarks[k, point, 1].item()
            rows = torch.tensor([(y > edge) if below else (y < edge) for y in range(32)])
            assert torch.equal(part.images[k][:, rows], faces.images[k][:, rows])
            assert torch.equal(part.images[k][:, ~rows], faces.neutral[k][:, ~rows])
    mouth, brows, either = (partial_faces(faces, place).images for place in ("mouth", "brows", "either"))
    assert torch.equal(either[0::2], mouth[0::2]) and torch.equal(either[1::2], brows[1::2])
    with pytest.raises(FerError, match="There is no place 'nose': choose one of mouth, brows, either, nowhere"):
        partial_faces(faces, "nose")


def test_nowhere_is_each_pictures_mean_colour(faces):
    flat = partial_faces(faces, "nowhere").images.float()
    assert (flat.flatten(2).std(2) == 0).all()
    assert (flat[:, :, 0, 0] - faces.images.float().mean((2, 3))).abs().max() <= 0.5


def test_changed_cells_lie_low_for_the_mouth_high_for_the_brows_and_nowhere_for_nothing(faces):
    mouth, brows, none = (changed_cells(partial_faces(faces, place), 4).view(4, 4) for place in ("mouth", "brows", "nowhere"))
    assert mouth[2:].any() and not mouth[:2].any() and brows[:2].any() and not brows[2:].any() and not none.any()


def test_growth_begins_with_even_weights_and_has_one_line_an_epoch():
    recipe, switches = Parameters(method="lnl", row="N4", profile="smoke", overrides="size=32 test_images=32").resolve()
    lines = []
    grown = grow("mouth", recipe, switches, device="cpu", log=lines.append)
    assert grown.weight.shape == (recipe.epochs + 1, 16) and len(lines) == recipe.epochs
    assert torch.equal(grown.weight[0], torch.ones(16)) and not torch.equal(grown.weight[-1], torch.ones(16))
    assert torch.allclose(grown.weight.sum(1), torch.full((recipe.epochs + 1,), 16.0), atol=1e-4)
    assert torch.allclose(grown.weight[-1], weights_of(grown.method, Loader(grown.faces, 7)).mean(0), atol=1e-5)
    by_hand = [(w * grown.cells).sum().item() / 16 for w in grown.weight]
    assert grown.share(grown.cells) == pytest.approx(by_hand, abs=1e-5)


def test_either_keeps_the_two_kinds_of_faces_apart():
    recipe, switches = Parameters(method="lnl", row="N4", profile="smoke", overrides="size=32 test_images=32").resolve()
    grown = grow("either", recipe, switches, device="cpu", log=lambda line: None)
    assert grown.apart.shape == (2, 16) and torch.allclose(grown.apart.mean(0), grown.weight[-1], atol=1e-5)
    each = weights_of(grown.method, Loader(grown.faces, 7))
    assert torch.allclose(grown.apart[0], each[moves_the_mouth(32, "either")].mean(0), atol=1e-5)
