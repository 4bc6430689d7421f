"""Maps are tried on networks of which one can say by hand what the trial must give."""

import pytest
import torch
from kept_cases import untrained
from test_explain import some_method
from torch import nn

from fer_lib.causes import (
    area_under,
    before_training,
    blurred,
    centre_blob,
    parts_from_the_top,
    places_in_order,
    randomized,
    rank_agreement,
    replacement_curve,
    scale_contributions,
)
from fer_lib.errors import FerError
from fer_lib.explain import grad_cam
from fer_lib.kept import kept_recognizers, load_recognizer
from fer_lib.methods.method import Prediction
from fer_lib.run import WEIGHTS
from fer_lib.trained import rebuild


class Corner(nn.Module):
    """The odds of class 1 double with each bright pixel of the left upper quarter of 4 x 4."""

    def forward(self, image):
        bright = torch.log(torch.tensor(2.0)) * image[:, 0, :2, :2].sum((1, 2))
        return Prediction(torch.stack([torch.zeros_like(bright), bright], 1))


def test_deletion_and_insertion_by_hand():
    image, label = torch.ones(1, 3, 4, 4), torch.tensor([1])
    right, wrong = torch.zeros(1, 4, 4), torch.ones(1, 4, 4)
    right[:, :2, :2] = torch.tensor([[4.0, 3.0], [2.0, 1.0]])
    wrong[:, :2, :2] = torch.tensor([[0.4, 0.3], [0.2, 0.1]])
    shares = (0.0, 1 / 16, 0.25, 0.75, 1.0)
    dark = torch.zeros_like(image)
    fall = replacement_curve(Corner(), image, dark, right, label, shares)
    assert fall[0].tolist() == pytest.approx([16 / 17, 8 / 9, 1 / 2, 1 / 2, 1 / 2])
    late = replacement_curve(Corner(), image, dark, wrong, label, shares)
    assert late[0].tolist() == pytest.approx([16 / 17, 16 / 17, 16 / 17, 16 / 17, 1 / 2])
    rise = replacement_curve(Corner(), dark, image, right, label, shares)
    assert rise[0].tolist() == pytest.approx([1 / 2, 2 / 3, 16 / 17, 16 / 17, 16 / 17])


def test_a_map_that_is_zero_everywhere_has_no_curve():
    image, maps = torch.ones(2, 3, 4, 4), torch.zeros(2, 4, 4)
    maps[1, 0, 0] = 1
    worth = area_under(replacement_curve(Corner(), image, torch.zeros_like(image), maps, torch.tensor([1, 1])))
    assert worth.isnan().tolist() == [True, False]


def test_area_under_a_curve_by_hand():
    assert area_under(torch.tensor([[1.0, 0.0, 0.0], [0.5, 0.5, 0.5]]), (0.0, 0.5, 1.0)).tolist() == [0.25, 0.5]


def test_places_follow_the_map_and_ties_are_drawn_by_lot():
    place = places_in_order(torch.tensor([[[0.1, 0.9], [0.5, 0.2]]]))
    assert place.tolist() == [[[3, 0], [1, 2]]]
    even = torch.zeros(2, 8, 8)
    one, other = places_in_order(even), places_in_order(even, seed=1)
    assert sorted(one[0].flatten().tolist()) == list(range(64)) and torch.equal(one[0], one[1])
    assert not torch.equal(one, other) and one[0].flatten().tolist() != list(range(64))


def test_a_blurred_picture_keeps_its_light_and_loses_what_is_fine():
    board = (torch.arange(32)[:, None] + torch.arange(32)).remainder(2).float().expand(1, 3, 32, 32)
    assert blurred(board).std() < 0.02 and blurred(board).mean() == pytest.approx(0.5, abs=0.01)


def test_the_hill_is_highest_in_the_middle():
    hill = centre_blob(9)
    assert hill[4, 4] == hill.max() == 1 and torch.allclose(hill, hill.flip(0)) and torch.allclose(hill, hill.T)


def test_rank_agreement_by_hand():
    up = torch.arange(4.0).view(1, 2, 2)
    first = torch.cat([up, up, up, up])
    second = torch.cat([up.exp(), -up, torch.ones(1, 2, 2), torch.tensor([[[0.0, 2.0], [1.0, 3.0]]])])
    found = rank_agreement(first, second)
    assert found[[0, 1, 3]].tolist() == pytest.approx([1, -1, 0.8]) and found[2].isnan()


def test_parts_are_forgotten_from_the_top():
    method, data = some_method("baseline")
    method.eval()
    stages = [f"stage {k}" for k in (4, 3, 2, 1)]
    assert [name for name, _ in parts_from_the_top(method)] == ["head", *stages, "stem"]
    held = sum(p.numel() for _, modules in parts_from_the_top(method) for m in modules for p in m.parameters())
    assert held == sum(p.numel() for p in method.parameters())
    before = {name: x.clone() for name, x in method.state_dict().items()}
    changed = []
    for _, network in randomized(method, some_method("baseline", seed=1)[0]):
        now = network.state_dict()
        changed.append({name.split(".")[0] if name.startswith("head") else name.split(".")[2] for name in now if not torch.equal(now[name], before[name])})
    assert changed[0] == {"head"} and changed[1] == {"head", "layer4"} and {"layer1", "conv1"} <= changed[5]
    assert all(torch.equal(x, before[name]) for name, x in method.state_dict().items())


def learned(network: nn.Module) -> dict[str, torch.Tensor]:
    """All that training changes: weights, and the statistics of batch norm; not a bias that a softmax takes out again."""
    statistics = {name: x for name, x in network.named_buffers() if "running_" in name}
    return {name: x for name, x in network.named_parameters() if name != "weigher.score.bias"} | statistics


@pytest.mark.parametrize("path", kept_recognizers(WEIGHTS), ids=lambda path: path.stem)
def test_no_part_of_a_kept_network_is_remembered(path):
    method, _, about = load_recognizer(path)
    trained, named = learned(method), [part for part, _ in parts_from_the_top(method)]
    for k, (part, network) in enumerate(randomized(method, before_training(about))):
        gone = {id(x) for _, modules in parts_from_the_top(network)[: k + 1] for module in modules for x in learned(module).values()}
        kept = {name for name, x in learned(network).items() if torch.equal(x, trained[name])}
        assert part == named[k] and kept == {name for name, x in learned(network).items() if id(x) not in gone}


def test_what_has_learned_nothing_is_no_start_of_a_run():
    about = untrained("lnl", "N4").about
    one, again, other = before_training(about), before_training(about), before_training(about, seed=1)
    assert torch.equal(one.weigher.position, again.weigher.position)
    torch.manual_seed(0)
    for network in (other, rebuild(about)[0]):
        assert not torch.equal(one.weigher.position, network.weigher.position) and not torch.equal(one.head.weight, network.head.weight)
    assert not one.training and not one.weigher.score.weight.any()  # it begins at zero, as before a training


def test_the_map_of_a_network_that_forgot_is_another_one():
    method, data = some_method("baseline")
    own = grad_cam(method, data.image, data.label)
    for _, network in randomized(method, some_method("baseline", seed=3)[0]):
        assert not torch.allclose(own, grad_cam(network, data.image, data.label), atol=0.05)


def test_the_scales_sum_to_the_logit():
    method, data = some_method("clcl", "B4")
    method.eval()
    with torch.no_grad():
        method.scales.score[-1].weight.normal_()
        seen = method(data.image)
        rest = method.head(torch.zeros_like(seen.maps["scale_1"]))
    parts = scale_contributions(method, data.image, data.label)
    wanted = (seen.logits - rest).gather(1, data.label[:, None])[:, 0]
    assert parts.shape == (6, 4) and torch.allclose(parts.sum(1), wanted, atol=1e-4)
    with pytest.raises(FerError, match="Only the scales of a head of its own"):
        scale_contributions(some_method("clcl", "B0")[0], data.image, data.label)
