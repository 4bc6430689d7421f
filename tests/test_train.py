"""The loop: it learns, resumes bit for bit, moves what it should, and names what breaks."""

from copy import deepcopy
from dataclasses import dataclass
from functools import partial

import pytest
import torch
from torch import nn

from fer_lib.data.loader import Augmentation, Loader
from fer_lib.errors import FerError
from fer_lib.methods.baseline import Baseline
from fer_lib.methods.method import Method, Player, Prediction, Stage, Term
from fer_lib.nets.backbone import Backbone
from fer_lib.recipe import Recipe, mixed_precision, pick_device, warm_cosine
from fer_lib.train import fit

TINY = Recipe(
    backbone="resnet10_narrow", stem_stride=2, size=32, epochs=3, batch_size=16, lr=0.05, warmup=0.5, precision="fp32"
)


def build(seed=0):
    torch.manual_seed(seed)
    return Baseline(Baseline.Switches(), Backbone("resnet10_narrow", 2), 8)


def loaders(blobs, augment=Augmentation()):
    train = Loader(blobs(64), 16, augment=augment, sampler="shuffled", seed=3)
    return train, Loader(blobs(32, "val"), 32)


def same(a, b):
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


def test_learns(blobs):
    train, val = Loader(blobs(256), 16, sampler="shuffled"), Loader(blobs(32, "val"), 32)
    lines = []
    fitted = fit(build(), train, val, TINY.model_copy(update={"epochs": 5}), log=lines.append)
    assert fitted.history.epochs[-1]["val_accuracy"] > 0.9
    assert len(lines) == 5 and "cross-entropy" in lines[0] and "validation" in lines[0]


@pytest.mark.parametrize("changes", [{}, {"ema": 0.9, "optimizer": "adamw", "lr": 0.002}])
def test_killed_run_continues_bit_for_bit(blobs, tmp_path, changes):
    recipe = TINY.model_copy(update=changes)
    whole = build()
    expected = fit(whole, *loaders(blobs), recipe, seed=5, log=lambda line: None)

    def killed(line):
        if line.startswith("epoch   2"):
            raise KeyboardInterrupt

    path = tmp_path / "run.ckpt"
    with pytest.raises(KeyboardInterrupt):
        fit(build(), *loaders(blobs), recipe, seed=5, checkpoint=path, log=killed)
    continued = build(seed=99)
    fitted = fit(continued, *loaders(blobs), recipe, seed=5, checkpoint=path, log=lambda line: None)
    assert same(whole, continued)
    assert fitted.history.chosen == expected.history.chosen
    assert all(torch.equal(fitted.chosen[k], v) for k, v in expected.chosen.items())


@pytest.mark.parametrize("other", [{"recipe": TINY}, {"seed": 6}, {"key": "other switches"}, {"damaged": True}])
def test_a_checkpoint_that_is_not_this_runs_is_put_aside_and_the_run_begins_anew(blobs, tmp_path, other):
    path, lines, damaged = tmp_path / "run.ckpt", [], other.pop("damaged", False)
    short = TINY.model_copy(update={"epochs": 1})
    fit(build(), *loaders(blobs), short, seed=5, checkpoint=path, log=str)
    if damaged:
        path.write_bytes(path.read_bytes()[:1000])
    kept = path.read_bytes()
    arguments = {"recipe": short, "seed": 5} | other
    fresh, resumed = build(), build()
    fit(fresh, *loaders(blobs), **arguments, log=str)
    fit(resumed, *loaders(blobs), **arguments, checkpoint=path, log=lines.append)
    assert "Checkpoint run.ckpt is damaged, or of other code or parameters: kept as run.ckpt.old" in lines[0]
    assert same(fresh, resumed) and (tmp_path / "run.ckpt.old").read_bytes() == kept


def test_same_seed_same_run_and_other_seed_another(blobs):
    def once(seed):
        method, train = build(), Loader(blobs(64), 16, augment=Augmentation(), sampler="shuffled", seed=seed)
        fit(method, train, loaders(blobs)[1], TINY.model_copy(update={"epochs": 1}), seed=seed, log=str)
        return method

    first = once(1)
    assert same(first, once(1)) and not same(first, once(2))


class Duel(Method):
    """Two players, two stages: what a GAN will ask of the loop."""

    @dataclass(frozen=True)
    class Switches:
        broken: bool = False

    name, ROWS = "duel", {}

    def __init__(self, broken=False):
        super().__init__()
        self.broken = broken
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 8))
        self.critic, self.norm = nn.Linear(8, 1), nn.BatchNorm1d(8)
        self.seen, self.over = [], []

    def stages(self):
        both = (Player("maker", ("head",)), Player("judge", ("critic",), lr=0.5))
        return (Stage("alone", (Player("maker", ("head",)),)), Stage("duel", both, share=2))

    def forward(self, image):
        return Prediction(self.norm(self.head(image)))

    def losses(self, batch, stage, player):
        self.seen.append((stage, player, self.head.training, self.norm.training))
        self.over.append(self.progress)
        value = self.critic(self(batch.image).logits).mean()
        terms = {"score": Term(value), "size": Term(value.square(), 0.1)}
        if self.broken and stage == "duel" and player == "judge":
            terms["bad"] = Term(value / 0.0 * 0.0)
        return terms


def test_each_player_moves_its_own_and_frozen_parts_stay(blobs):
    torch.manual_seed(0)
    method = Duel()
    before = {k: v.clone() for k, v in method.state_dict().items()}
    fitted = fit(method, *loaders(blobs), TINY, log=str)
    after = method.state_dict()
    moved = {k.split(".")[0] for k in before if not torch.equal(before[k], after[k])}
    assert moved == {"head", "critic"}
    assert [e["stage"] for e in fitted.history.epochs] == ["alone", "duel", "duel"]
    assert sorted(set(method.over)) == [0.0, 0.5]
    assert {s[:2] for s in method.seen} == {("alone", "maker"), ("duel", "maker"), ("duel", "judge")}
    assert all(head == (player == "maker" or stage == "duel") and not norm for stage, player, head, norm in method.seen)


def test_a_stage_without_players_changes_nothing(blobs):
    method = Duel()
    method.stages = lambda: (Stage("watch", ()),)
    before = {k: v.clone() for k, v in method.state_dict().items()}
    fitted = fit(method, *loaders(blobs), TINY.model_copy(update={"epochs": 1}), log=str)
    assert all(torch.equal(before[k], v) for k, v in method.state_dict().items()) and not method.seen
    assert fitted.history.epochs[0]["lr"] == 0


def test_first_stage_leaves_the_second_players_part_alone(blobs):
    method = Duel()
    critic = method.critic.weight.clone()
    recipe, kept = TINY.model_copy(update={"epochs": 2}), []
    fit(method, *loaders(blobs), recipe, log=lambda line: kept.append(method.critic.weight.detach().clone()))
    assert torch.equal(kept[0], critic) and not torch.equal(kept[1], critic)


def test_nan_names_the_term_and_keeps_the_checkpoint(blobs, tmp_path):
    path = tmp_path / "run.ckpt"
    with pytest.raises(FerError, match=r"'judge/bad' is not a number from step 1 of epoch 2 on: lower lr"):
        fit(Duel(broken=True), *loaders(blobs), TINY, checkpoint=path, log=str)
    assert len(torch.load(path, weights_only=True)["epochs"]) == 1


def test_too_few_epochs_for_the_stages(blobs):
    with pytest.raises(FerError, match="2 stages of training need at least 2 epochs, not 1"):
        fit(Duel(), *loaders(blobs), TINY.model_copy(update={"epochs": 1}), log=str)


def test_early_stop_and_a_second_call_stays_stopped(blobs, tmp_path):
    lines, path = [], tmp_path / "run.ckpt"
    recipe = TINY.model_copy(update={"epochs": 9, "lr": 1e-9, "patience": 2})
    fitted = fit(build(), *loaders(blobs), recipe, checkpoint=path, log=lines.append)
    assert len(fitted.history.epochs) == fitted.history.chosen + 2 < 9
    assert lines[-1] == "stopped: no better epoch in 2"
    again = fit(build(), *loaders(blobs), recipe, checkpoint=path, log=lines.append)
    assert again.history == fitted.history


def test_ema_is_what_is_reported(blobs):
    plain, averaged = build(), build()
    recipe = TINY.model_copy(update={"epochs": 1})
    fit(plain, *loaders(blobs), recipe, log=str)
    fit(averaged, *loaders(blobs), recipe.model_copy(update={"ema": 0.5}), log=str)
    assert not same(plain, averaged)
    start = build().head.weight
    assert (averaged.head.weight - start).norm() < (plain.head.weight - start).norm()


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_weights_are_moved_as_by_torchs_plain_optimizer_however_they_lie_in_memory(blobs, optimizer):
    train, val = loaders(blobs)
    recipe = TINY.model_copy(update={"optimizer": optimizer, "epochs": 1, "clip": 0.0, "warmup": 0.0})
    method = build().double().to(memory_format=torch.channels_last)
    other = deepcopy(method)
    names = {"adamw": torch.optim.AdamW, "sgd": partial(torch.optim.SGD, momentum=0.9, nesterov=True)}
    groups = [[p for p in other.parameters() if (p.ndim > 1) == deep] for deep in (True, False)]
    decays = zip(groups, (recipe.weight_decay, 0.0), strict=True)
    plain = names[optimizer]([{"params": g, "weight_decay": w} for g, w in decays], lr=recipe.lr, foreach=False)
    fit(method, train, val, recipe, seed=0)
    torch.manual_seed(0)
    other.train()
    for step, batch in enumerate(train.epoch(0)):
        for group in plain.param_groups:
            group["lr"] = recipe.lr * warm_cosine(step, len(train), 0)
        plain.zero_grad()
        other.losses(batch, "train", "all")["cross-entropy"].value.backward()
        plain.step()
    assert not method.backbone.body.layer1[0].conv1.weight.is_contiguous()
    for mine, theirs in zip(method.parameters(), other.parameters(), strict=True):
        assert torch.allclose(mine, theirs, atol=1e-9)


def test_warm_cosine():
    factors = [warm_cosine(step, 10, 2) for step in range(10)]
    assert factors[:3] == [0.5, 1.0, 1.0]
    assert factors[6] == pytest.approx(0.5) and factors[-1] < 0.05
    assert warm_cosine(10, 10, 2) == pytest.approx(0)


def test_device_and_precision():
    with pytest.raises(FerError, match="is not on this machine"):
        pick_device("cuda:99")
    device = pick_device("cpu")
    assert mixed_precision(Recipe(precision="bf16"), device) and not mixed_precision(Recipe(precision="fp32"), device)


@pytest.mark.parametrize(("flags", "mixed"), [("fma avx512f amx_bf16", True), ("fma avx512f avx512_bf16", True), ("fma avx512f", False), ("fp asimd bf16", False), ("", False)])
def test_a_cpu_trains_in_16_bits_only_where_it_has_instructions_for_them(monkeypatch, flags, mixed):
    monkeypatch.setattr("fer_lib.recipe._cpu_flags", lambda: flags)
    assert mixed_precision(Recipe(), pick_device("cpu")) is mixed
