"""The figures say what they say: a perfect remover, one that does nothing, and a network's own, counted by hand."""

from types import SimpleNamespace
from unittest.mock import Mock

import pytest
import torch
from test_err_net import build

from fer_lib.data.faces import make_faces
from fer_lib.data.loader import Loader
from fer_lib.methods.cascade import psnr
from fer_lib.methods.method import Prediction
from fer_lib.methods.removal import Removed, _of_the_landmarks, _of_the_person, _of_the_picture, ask_critic, gate_swap, measure, put_on, remove, typical_codes
from fer_lib.methods.twins import motion


@pytest.fixture(scope="module")
def faces():
    return make_faces(32, "val", size=32, neutral=True, per_person=4)


@pytest.fixture(scope="module")
def method():
    return build().eval()


def found_by(faces, share):
    """What a network would have found that removes a share of the true residual, and moves the points by it."""
    image, rest = faces.images.float() / 255, faces.neutral.float() / 255
    residual, moves = share * (image - rest), motion(faces.landmarks, faces.neutral_landmarks)
    code = torch.rand(len(image), 7, 4)
    idle = torch.zeros_like(rest)
    return Removed(image, rest, image - residual, residual, (1 - share) * residual, idle, idle, residual, code, moves, share * moves)


def test_a_perfect_remover_and_an_idle_one(faces):
    shown = faces.labels != 0
    whole, half = (_of_the_picture(found_by(faces, share), faces.labels, shown) for share in (1.0, 0.5))
    assert whole["correlation"] == pytest.approx(1, abs=1e-4) and whole["psnr_estimate"] == pytest.approx(80, abs=0.1)
    assert half["psnr_estimate"] == pytest.approx(half["psnr_input"] + 6.02, abs=0.05)
    assert whole["psnr_input"] == pytest.approx(psnr(*(x[shown].float() / 255 for x in (faces.images, faces.neutral))).mean().item())
    assert half["psnr_told"] == half["psnr_estimate"] and half["correlation_told"] == half["correlation"]
    assert whole["calm"] == 0 and half["again"] == pytest.approx(0.5, abs=1e-4) and whole["psnr_mean"] > 0
    assert 0 < whole["correlation_mean"] < 1
    assert whole["size"] == pytest.approx(1) and half["size"] == pytest.approx(0.5, rel=1e-4) and whole["sharpness"] == pytest.approx(1)
    assert whole["misnamed"] == 0 and whole["silent"] == 0


def test_neutral_in_neutral_out_has_three_measures(faces):
    """Half of the twins lose a tenth of the face's residual; labelled ones all; one hasty gate takes it whole."""
    shown, found = faces.labels != 0, found_by(faces, 1.0)
    half = (torch.arange(len(faces)) % 2 == 0)[:, None, None, None]
    found = found._replace(calm=0.1 * half * found.residual, hasty=found.residual)
    figures = _of_the_picture(found, faces.labels, shown)
    sizes = found.residual.abs().mean((1, 2, 3))
    assert figures["calm"] == pytest.approx((0.1 * half.flatten() * sizes)[shown].mean().item() / sizes[shown].mean().item(), rel=1e-4)
    assert figures["calm_hasty"] == pytest.approx(1) and figures["misnamed"] == pytest.approx(half.flatten()[shown].float().mean().item())
    assert figures["calm_labelled"] == pytest.approx(sizes[~shown].mean().item() / sizes[shown].mean().item(), rel=1e-4)


def test_a_blurred_estimate_is_less_sharp(faces):
    shown, found = faces.labels != 0, found_by(faces, 1.0)
    blurred = torch.nn.functional.avg_pool2d(found.rest, 3, 1, 1)
    assert _of_the_picture(found._replace(estimate=blurred), faces.labels, shown)["sharpness"] < 0.7


def test_a_critic_that_knows_and_one_that_does_not(faces):
    found = found_by(faces, 0.5)
    know = lambda given, made: -(made - found.rest[faces.labels != 0][: len(made)]).square().mean(1)  # noqa: E731
    critic = Mock(side_effect=know, kind=None)
    assert ask_critic(critic, Loader(faces, 16), found) == {"told apart": 1}
    critic = Mock(side_effect=lambda given, made: torch.zeros(len(made), 2, 2), classify=lambda x: torch.eye(8)[torch.zeros(len(x)).long()])
    said = ask_critic(critic, Loader(faces, 16), found)
    assert said["told apart"] == 0 and said["estimate"] == said["true"] == 1
    assert said["named"] == pytest.approx((faces.labels == 0).float().mean().item())


def test_landmarks_against_their_floors(faces):
    shown = faces.labels != 0
    found = _of_the_landmarks(found_by(faces, 1.0), faces.labels, shown)
    moves = motion(faces.landmarks, faces.neutral_landmarks)[shown]
    assert found["landmark_error"] == 0 and found["landmark_zero"] == pytest.approx(100 * moves.norm(dim=2).mean().item(), rel=1e-4)
    assert 0 < found["landmark_mean"] < found["landmark_zero"]
    for way in ("happiness up", "sadness down"):
        assert found["corners"][way] == found["corners"][f"true {way}"]
    assert found["corners"]["true happiness up"] == 1


def test_people_are_looked_for_among_other_pictures(faces):
    found, shown = found_by(faces, 1.0), faces.labels != 0
    shares = _of_the_person(found, faces.subjects, shown)["person"]
    assert shares["estimate"] == pytest.approx(shares["true"]) and set(shares) == {"input", "estimate", "true"}
    another = _of_the_person(found._replace(estimate=found.rest.roll(4, 0)), faces.subjects, shown)["person"]
    assert another == shares | {"estimate": 0} and shares["true"] > 0.5
    once = _of_the_person(found, torch.arange(len(faces)), shown)["person"]
    assert set(once) == {"input", "estimate"} and once["estimate"] == 1
    assert _of_the_person(found, None, shown) == {}


def knows(pictures):
    """A judge that calls neutral what is one of the pictures, and nothing else."""

    def judge(images):
        nearest = (images[:, None] - pictures).abs().amax((2, 3, 4)).amin(1)
        return Prediction(torch.stack([torch.full_like(nearest, 1e-4), nearest], 1))

    return judge


def test_a_networks_own_figures(faces, method):
    loader = Loader(faces, 10)
    found = remove(method, loader)
    image = faces.images.float() / 255
    with torch.no_grad():
        maps = method(image).maps
        assert torch.allclose(found.told, method.see(image, faces.labels).residual, atol=1e-4)
    assert torch.allclose(found.residual, maps["residual"], atol=1e-4) and torch.allclose(found.code, maps["code"], atol=1e-4)
    assert torch.equal(found.image, image) and found.motion.shape == found.moved.shape == (32, 68, 2)
    figures = measure(method, loader, lambda x: Prediction(torch.eye(8)[torch.zeros(len(x), dtype=torch.long)]))
    assert figures["called_neutral"] == {"input": 1, "estimate": 1, "true": 1}
    lengths = maps["code"].norm(dim=2)
    own = (lengths.argmax(1) + 1 == faces.labels)[faces.labels != 0].float().mean().item()
    assert figures["own_longest"] == pytest.approx(own)
    assert figures["lengths"]["neutral"] == pytest.approx(lengths[faces.labels == 0].mean(0).tolist(), abs=1e-4)
    assert {"expression", "person", "expression encoder", "person encoder", "person chance"} <= set(figures["probe"])
    assert figures["swapped"]["chance"] == pytest.approx(1 / 7) and figures["ratio"] > 0


def test_the_judge_is_asked_of_the_estimate_itself(faces):
    eager = build(gate="none").eval()
    estimates = remove(eager, Loader(faces, 16)).estimate[faces.labels != 0]
    assert measure(eager, Loader(faces, 16), knows(estimates))["called_neutral"] == {"input": 0, "estimate": 1, "true": 0}


def test_without_a_decoder_the_code_alone_is_measured(faces):
    figures = measure(build("E0").eval(), Loader(faces, 16))
    assert set(figures) == {"lengths", "own_longest", "ratio", "probe"}


def test_nothing_is_put_on_without_a_code(faces, method):
    rest, code = faces.neutral[:4].float() / 255, torch.rand(1, 7, 16)
    assert torch.equal(put_on(method, torch.zeros(1, 7, 16), rest), rest)
    assert not torch.equal(put_on(method, code, rest), rest)


def test_typical_codes_have_their_own_segment_alone():
    code, label = torch.rand(6, 7, 3), torch.tensor([0, 2, 2, 7, 0, 7])
    codes = typical_codes(code, label)
    assert set(codes) == {2, 7} and torch.allclose(codes[2][0, 1], code[1:3, 1].mean(0))
    assert not codes[2][0, [0, 2, 3, 4, 5, 6]].any()


def test_a_gate_that_draws_the_templates_is_seen(faces):
    """A decoder that draws each expression's mean residual, whatever the face."""
    loader, found = Loader(faces, 16), found_by(faces, 1.0)
    true = found.image - found.rest
    means = {k: true[faces.labels == k].mean(0) for k in range(1, 8)}

    def decode(code, maps, image, source):
        return torch.stack([means[int(c.norm(dim=1).argmax()) + 1] for c in code]) * 0.3

    fake = SimpleNamespace(decode=decode, encoder=lambda x: [])
    grey = found._replace(rest=torch.full_like(found.rest, 0.5), image=true + 0.5)
    assert gate_swap(fake, loader, grey)["template"] > 0.9
