"""What is removed and what stays adds up; labels reach the decoder alone; each player moves itself alone."""

from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F

from fer_lib.data.faces import make_faces
from fer_lib.data.loader import Batch, Loader
from fer_lib.errors import FerError
from fer_lib.methods.err_net import ERRNet
from fer_lib.methods.twins import motion, neutral_of, share_left, true_motion
from fer_lib.nets.backbone import Backbone
from fer_lib.nets.segments import opened, segment_margin
from fer_lib.recipe import Recipe
from fer_lib.train import fit

DRAWING = [row for row, changes in ERRNet.ROWS.items() if changes.get("output") != "none"]


def build(row="E5", stir=True, **switches):
    """A row's network; stirred, so that its residual is no longer zero."""
    torch.manual_seed(0)
    method = ERRNet(ERRNet.Switches(**{**ERRNet.ROWS[row], **switches}), Backbone("resnet10_narrow", 2, size=32), 8)
    if stir and method.switches.output != "none":
        torch.nn.init.normal_(method.decoder.last.weight, std=0.1)
    if stir and method.switches.landmarks:
        torch.nn.init.normal_(method.mover[-1].weight, std=0.1)
    return method


def batch(count=6):
    torch.manual_seed(1)
    label = torch.arange(count) % 8
    points = 10 + 12 * torch.rand(2, count, 68, 2)
    points[1, :, 36:42, 0], points[1, :, 42:48, 0] = 10.0, 20.0
    points[1, :, 36:48, 1] = 12.0
    image, rest = torch.rand(2, count, 3, 32, 32)
    return Batch(image, label, label, neutral=rest, landmarks=points[0], neutral_landmarks=points[1])


def test_votes_are_the_target_of_the_cross_entropy_and_of_nothing_else():
    method, data, votes = build().eval(), batch(), torch.rand(6, 8).softmax(1)
    hard = method.losses(data, "train", "generator")
    data.target = votes
    soft = method.losses(data, "train", "generator")
    by_hand = -(votes * method(data.image).logits.log_softmax(1)).sum(1).mean()
    assert torch.allclose(soft["cross-entropy"].value, by_hand, atol=1e-5)
    assert {name for name in hard if not torch.equal(hard[name].value, soft[name].value)} == {"cross-entropy"}


@pytest.mark.parametrize("row", DRAWING)
def test_face_minus_residual_is_the_estimate(row):
    method, image = build(row).eval(), batch().image
    seen, drawn = method(image), []
    method.decoder.register_forward_hook(lambda _, inputs, out: drawn.append(out))
    method(image)
    own = 0.5 + drawn[0] if row == "E6" else image - torch.tanh(drawn[0])  # E6 draws the neutral face itself
    assert torch.allclose(image - seen.maps["residual"], own, atol=1e-6)
    assert torch.equal(seen.maps["neutral"], (image - seen.maps["residual"]).clamp(0, 1))


@pytest.mark.parametrize("row", [r for r in DRAWING if r != "E6"])
def test_at_first_nothing_is_removed(row):
    method, image = build(row, stir=False).eval(), batch().image
    assert not method(image).maps["residual"].any() and torch.equal(method(image).maps["neutral"], image)


@pytest.mark.parametrize("row", list(ERRNet.ROWS))
def test_labels_do_not_reach_the_scores(row):
    method, data = build(row).eval(), batch()
    with torch.no_grad():
        scores = [method.see(data.image, label).logits for label in (None, data.label, data.label.flip(0))]
    assert torch.equal(scores[0], scores[1]) and torch.equal(scores[0], scores[2])
    assert torch.equal(method(data.image).logits, scores[0])


def test_the_label_reaches_the_decoder_and_neutral_closes_it():
    method, data = build().eval(), batch()
    with torch.no_grad():
        first, second = (method.see(data.image, torch.full_like(data.label, k)).residual for k in (1, 2))
        none = method.see(data.image, torch.zeros_like(data.label))
    assert (first - second).abs().max() > 1e-4 and not none.residual.any() and not none.motion.any()


def test_a_neutral_face_has_nothing_to_remove():
    data = batch()
    rest = neutral_of(data)
    assert torch.equal(rest[0], data.image[0]) and torch.equal(rest[1:], data.neutral[1:])
    calm = Batch(data.image[:1], data.label[:1], data.index[:1], neutral=data.neutral[:1], landmarks=data.landmarks[:1], neutral_landmarks=data.neutral_landmarks[:1])
    terms = build().eval().losses(calm, "train", "generator")
    assert terms["pixel"].value == 0 and terms["landmark"].value == 0


@pytest.mark.parametrize("row", [r for r, c in ERRNet.ROWS.items() if c.get("adversary") != "none"])
def test_each_player_moves_itself_alone(row):
    """Watched in the training loop itself: what differs from one player's turn to the next is what the first one moved."""
    method, seen = build(row), []

    def spied(data, stage, player, losses=method.losses):
        seen.append((player, {n: p.detach().clone() for n, p in method.named_parameters()}))
        return losses(data, stage, player)

    method.losses = spied
    faces = make_faces(24, "train", seed=1, size=32, neutral=True)
    recipe = Recipe(size=32, epochs=1, batch_size=8, warmup=0.0, precision="fp32")
    fit(method, Loader(faces, 8, size=32), Loader(faces, 8, size=32), recipe, log=str)
    assert [player for player, _ in seen] == ["generator", "discriminator"] * 3
    for (player, before), (_, after) in pairwise(seen):
        moved = {n.split(".")[0] for n in before if not torch.equal(before[n], after[n])}
        assert moved == {"discriminator"} if player == "discriminator" else moved and "discriminator" not in moved


def test_the_discriminator_sees_what_the_generator_just_made():
    method, data = build().eval(), batch()
    method.losses(data, "train", "generator")
    made = method._made[1]
    assert not made.requires_grad and torch.allclose(made, (data.image - method.see(data.image, data.label, neutral_of(data)).residual).clamp(0, 1), atol=1e-6)
    method.losses(data, "train", "discriminator")
    assert method._made is None


def test_the_adversary_is_heard_after_the_warm_up():
    method, data = build(), batch()
    method.progress = 0.2
    assert "realism" not in method.losses(data, "train", "generator")
    method.progress = 0.5
    assert {"realism", "auxiliary"} <= set(method.losses(data, "train", "generator"))


def test_every_term_pulls_in_a_direction_of_its_own():
    method, data = build().eval(), batch()
    method.progress, pulls = 1.0, {}
    for name, term in method.losses(data, "train", "generator").items():
        pull = torch.autograd.grad(term.value, method.code.weight, retain_graph=True)[0].flatten()
        assert term.weight > 0 and pull.norm() > 0, name
        pulls[name] = F.normalize(pull, dim=0)
    assert set(pulls) == {"cross-entropy", "margin", "pixel", "sparsity", "landmark", "realism", "auxiliary"}
    sims = torch.stack(list(pulls.values())) @ torch.stack(list(pulls.values())).T
    assert (sims - torch.eye(len(sims))).abs().max() < 0.999


@pytest.mark.parametrize("row, learns", [("E5", True), ("E5-stop", False)])
def test_the_encoder_learns_from_the_picture_only_where_it_may(row, learns):
    method, data = build(row).eval(), batch()
    terms = method.losses(data, "train", "generator")
    slopes = torch.autograd.grad(terms["pixel"].value, list(method.encoder.parameters()), allow_unused=True)
    assert any(g is not None and g.abs().sum() > 0 for g in slopes) == learns


def test_every_other_twin_is_to_have_short_segments():
    method, data = build().eval(), batch()
    seen = method.see(data.image, data.label, neutral_of(data))
    with torch.no_grad():
        calm = method.see(neutral_of(data)[1::2]).code
    assert torch.allclose(seen.calm, calm, atol=1e-5)
    both = segment_margin(torch.cat([seen.code, calm]).norm(dim=2), torch.cat([data.label, torch.zeros(3, dtype=torch.long)]))
    assert torch.allclose(method.losses(data, "train", "generator")["margin"].value, both, atol=1e-5)
    assert method.see(data.image).calm is None and build("E0").see(data.image).calm is None


def test_neutral_twins_are_asked_for_a_residual_of_zero():
    """Through the segment that would open if they were misnamed; with what the faces themselves leave, one sum."""
    method, data = build().eval(), batch()
    rest = neutral_of(data)
    seen = method.see(data.image, data.label, rest)
    with torch.no_grad():
        alone = method.see(rest[1::2])
        likeliest = alone.logits[:, 1:].argmax(1) + 1
        by_hand = method.see(rest[1::2], likeliest).residual
    assert torch.allclose(seen.still, by_hand, atol=1e-5) and seen.still.abs().amax() > 1e-4
    true = data.image - rest
    wanted = ((seen.residual - true).square().sum() + seen.still.square().sum()) / true.square().sum()
    term = method.losses(data, "train", "generator")["pixel"].value
    assert torch.allclose(term, wanted, rtol=1e-4)
    pull = torch.autograd.grad(seen.still.square().sum(), method.code.weight)[0]
    assert pull.abs().sum() > 0
    assert build("E5-nozero").eval().see(data.image, data.label, rest).still is None


def test_the_gate_opens_for_a_clear_lead_only():
    logits = torch.tensor([[0.0, 0.9, -1.0], [0.0, 1.1, -1.0], [2.0, 0.0, 3.5]])
    assert opened(logits, 1.0).tolist() == [0, 1, 2] and opened(logits, 0.0).tolist() == [1, 1, 2]
    method, data = build(lean=50.0).eval(), batch()
    assert not method(data.image).maps["residual"].any() and method.see(data.image, data.label).residual[1:].flatten(1).any(1).all()


@pytest.mark.parametrize("row", ERRNet.ROWS)
def test_all_rows_see_the_same_faces(row):
    """Faces are drawn with their neutral twins, or they are other faces (``load_faces``, by the fingerprint)."""
    own, whole = (ERRNet.needs(ERRNet.Switches(**changes)) for changes in (ERRNet.ROWS[row], {}))
    assert "neutral" in own and whole - own <= {"landmarks", "neutral_landmarks"}


def test_every_other_face_borrows_its_twins_maps():
    method, data = build().eval(), batch()
    with torch.no_grad():
        own = method.see(data.image, data.label).residual
        mixed = method.see(data.image, data.label, data.neutral).residual
    assert torch.allclose(own[0::2], mixed[0::2], atol=1e-6)
    assert (own[1::2] - mixed[1::2]).abs().flatten(1).amax(1).min() > 1e-6
    method = build("E9-own").eval()
    with torch.no_grad():
        assert torch.allclose(method.see(data.image, data.label).residual, method.see(data.image, data.label, data.neutral).residual, atol=1e-6)


def test_the_difference_is_read_without_teaching_the_decoder():
    method, data = build("E7").eval(), batch()
    term = method.losses(data, "train", "generator")["cross-entropy"].value
    slopes = torch.autograd.grad(term, [method.answer.weight, method.decoder.last.weight, method.code.weight], allow_unused=True)
    assert slopes[0].abs().sum() > 0 and slopes[1] is None and slopes[2] is None


@pytest.mark.parametrize("row", list(ERRNet.ROWS))
def test_a_prediction_does_not_depend_on_its_batch(row):
    method = build(row).train()
    method(torch.rand(8, 3, 32, 32))
    method.eval()
    images = torch.rand(9, 3, 32, 32)
    with torch.inference_mode():
        together, alone = method(images), [method(image[None]) for image in images]
    assert (together.logits - torch.cat([a.logits for a in alone])).abs().max() < 1e-5
    for name, rows in together.maps.items():
        assert (rows - torch.cat([a.maps[name] for a in alone])).abs().max() < 1e-4, name


def test_motion_by_hand():
    data = batch()
    wanted = motion(data.landmarks, data.neutral_landmarks)
    assert torch.allclose(wanted, (data.landmarks - data.neutral_landmarks) / 10, atol=1e-5)
    assert not true_motion(data)[0].any() and torch.equal(true_motion(data)[1:], wanted[1:])
    data.landmarks = data.landmarks[:, :5]
    with pytest.raises(FerError, match="need 68 landmarks, not 5: take landmarks=false"):
        true_motion(data)


def test_the_share_that_is_left():
    truth = torch.tensor([[3.0, 4.0], [0.0, 0.0]])
    assert share_left(torch.zeros(2, 2), truth) == 1 and share_left(truth, truth) == 0
    assert share_left(truth / 2, truth).item() == pytest.approx(0.25)
    truth[0, 0] = torch.nan
    assert share_left(torch.full((2, 2), 2.0), truth).item() == pytest.approx((4 + 4 + 4) / 16)
    assert share_left(torch.full((2, 2), 0.01), torch.zeros(2, 2)).item() == pytest.approx(1)


@pytest.mark.parametrize(
    "switches, sentence",
    [
        ({"gate": "truth"}, "gate cannot be 'truth': choose one of label, predicted, none"),
        ({"depth": 0}, "depth cannot be 0"),
        ({"output": "none"}, "Without output there is no estimate"),
        ({"output": "neutral"}, "the twin's maps would be the answer"),
        ({"reads": "difference"}, "a gate by label would tell the answer"),
        ({"adversary": "none"}, "The auxiliary head belongs to an adversary"),
        ({"sparse": -1.0}, "sparse cannot be -1.0: a factor is 0 or more"),
        ({"warmup": 1.0}, "warmup cannot be 1.0"),
    ],
)
def test_refusals(switches, sentence):
    with pytest.raises(FerError, match=sentence):
        ERRNet.Switches(**switches)
