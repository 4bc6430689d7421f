"""A restorer before a recognizer: who learns when, what is frozen, and how hard each term pulls."""

import numpy as np
import pytest
import torch
from torchmetrics.functional.image import structural_similarity_index_measure

from fer_lib.data.degradation import Degradation
from fer_lib.data.loader import Batch, Loader
from fer_lib.evaluate import predict
from fer_lib.methods import METHODS, find_method, owner
from fer_lib.methods.cascade import energy_map, feature_distances, gradient_balance, psnr
from fer_lib.nets.backbone import Backbone
from fer_lib.recipe import Recipe
from fer_lib.train import fit

SIZE = 32
TINY = Recipe(size=SIZE, epochs=4, batch_size=8, lr=0.003, precision="fp32", warmup=0.0)
CASES = {"ll_fer": ("A7", "low_light:severe"), "sr_fer": ("S5", "low_resolution:4")}
SWITCH = {"cross-entropy": "task", "feature distance": "features", "attention": "attention", "prediction": "prediction"}
ROWS = [(name, row) for name in CASES for row in METHODS[name].ROWS]


def build(name, row=None, **changes):
    torch.manual_seed(0)
    kind = METHODS[name]
    switches = {k: v for k, v in kind.ROWS[row or CASES[name][0]].items() if k not in Recipe.model_fields}
    method = kind(kind.Switches(**{"width": 4, **switches, **changes}), Backbone("resnet10_narrow", 2, size=SIZE), 8)
    method.start(method.recognizer)
    return method


def degraded(name, count=6, row=None):
    spoil = Degradation.of(METHODS[name].ROWS[row]["degrade"] if row else CASES[name][1])
    clean = torch.rand(count, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1))
    index = torch.arange(count)
    return Batch(spoil(clean, index), index % 8, index, clean=clean)


def loaders(name, blobs):
    spoil = Degradation.of(CASES[name][1])
    train = Loader(blobs(24), 8, size=SIZE, sampler="shuffled", degrade=spoil)
    return train, Loader(blobs(16, "val"), 16, size=SIZE, degrade=spoil)


@pytest.mark.parametrize("name", CASES)
def test_votes_are_the_target_where_the_recognizer_or_its_guide_learns(name):
    method, batch, votes = build(name, task=0.5).eval(), degraded(name), torch.rand(6, 8).softmax(1)
    batch.target = votes
    logits = method(batch.image).logits
    by_hand = pytest.approx(-(votes * logits.log_softmax(1)).sum(1).mean().item(), abs=1e-5)
    assert method.losses(batch, "adapt", "recognizer")["cross-entropy"].value.item() == by_hand
    assert method.losses(batch, "joint", "restorer")["cross-entropy"].value.item() == by_hand


def changed(before, after):
    return {k.split(".")[0] for k in before if not torch.equal(before[k], after[k])}


def gradient(method, terms):
    parameters = list(method.restorer.parameters())
    total = sum(term.weight * term.value for term in terms.values())
    grads = torch.autograd.grad(total, parameters, allow_unused=True, retain_graph=True)
    return torch.cat([(g if g is not None else torch.zeros_like(p)).flatten() for g, p in zip(grads, parameters, strict=True)])


def moved(method):
    """The restorer a little away from its first state, where some gradients are zero."""
    with torch.no_grad():
        for p in method.restorer.parameters():
            p += 0.02 * torch.randn(p.shape, generator=torch.Generator().manual_seed(p.numel()))
    return method


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("reader", ["frozen", "finetune", "retrain"])
def test_who_learns(name, reader, blobs):
    method = build(name, reader=reader)
    before = {k: v.clone() for k, v in method.state_dict().items()}
    fit(method, *loaders(name, blobs), TINY, log=str)
    after = method.state_dict()
    assert changed(before, after) == {"restorer", "balance"} | ({"recognizer"} if reader != "frozen" else set())
    running = [k for k in before if k.startswith("recognizer") and "running" in k]
    assert running and any(not torch.equal(before[k], after[k]) for k in running) == (reader == "retrain")


@pytest.mark.parametrize(
    "name, row, stages, players",
    [
        ("ll_fer", "A1", ["untrained"], [()]),
        ("ll_fer", "A2-gamma", ["untrained"], [()]),
        ("ll_fer", "A3", ["adapt"], [("recognizer",)]),
        ("ll_fer", "A4", ["restore"], [("restorer",)]),
        ("ll_fer", "A5", ["restore", "adapt"], [("restorer",), ("recognizer",)]),
        ("ll_fer", "A6", ["restore", "joint"], [("restorer",), ("restorer",)]),
        ("ll_fer", "A7", ["restore", "joint"], [("restorer",), ("restorer", "recognizer")]),
        ("sr_fer", "S8-retrain", ["adapt"], [("recognizer",)]),
        ("sr_fer", "S8-finetune", ["restore", "adapt"], [("restorer",), ("recognizer",)]),
        ("sr_fer", "S10", ["restore", "joint"], [("restorer",), ("restorer",)]),
    ],
)
def test_each_row_trains_whom_the_table_says(name, row, stages, players):
    plan = build(name, row).stages()
    assert [stage.name for stage in plan] == stages
    assert [tuple(player.name for player in stage.players) for stage in plan] == players


@pytest.mark.parametrize("name, row", [("ll_fer", "A5"), ("sr_fer", "S8-finetune")])
def test_adapting_leaves_the_restorer_alone(name, row):
    method, batch = moved(build(name, row)), degraded(name)
    terms = method.losses(batch, "adapt", "recognizer")
    sum(term.weight * term.value for term in terms.values()).backward()
    assert all(p.grad is None for p in method.restorer.parameters())
    assert any(p.grad is not None and p.grad.any() for p in method.recognizer.parameters())


@pytest.mark.parametrize("row", ["A7-B4", "A7-N4", "A7-unguided-B4", "S5-B4", "S5-N4", "S5-unguided-N4", "S5-B4 shared"])
def test_other_recognizers_steer_the_restorer(row):
    """Whatever their heads are made of."""
    row, *net = row.split()
    name = "ll_fer" if row[0] == "A" else "sr_fer"
    method = build(name, row, **({"attention_net": net[0]} if net else {}))
    kind = find_method(owner(other := row.split("-")[-1]))
    method.start(kind(kind.Switches(**{k: v for k, v in kind.ROWS[other].items() if k not in Recipe.model_fields}), Backbone("resnet10_narrow", 2, size=SIZE), 8))
    terms = moved(method).losses(degraded(name, row=row), "joint", "restorer")
    asked = [term for guide, term in terms.items() if guide in method.GUIDES]
    assert bool(asked) != ("unguided" in row) and all(term.value.isfinite() for term in terms.values())
    pulls = torch.autograd.grad(sum((term.value for term in asked), sum(term.value for term in terms.values())), list(method.restorer.parameters()))
    assert any(pull.abs().max() > 0 for pull in pulls)


@pytest.mark.parametrize("name", CASES)
def test_what_is_shown_lies_in_range_though_the_restorer_overshoots(name):
    method = build(name)
    with torch.no_grad():
        for p in method.restorer.parameters():
            p += 0.3 * torch.randn(p.shape, generator=torch.Generator().manual_seed(p.numel()))
    image = degraded(name).image
    assert method.restorer(image).max() > 1
    restored = method(image).maps["restored"]
    assert restored.min() >= 0 and restored.max() <= 1


def test_shared_attention_is_measured_by_the_moving_recognizer():
    method, batch = moved(build("sr_fer", attention_net="shared")), degraded("sr_fer")
    frozen = moved(build("sr_fer"))
    for net in (method, frozen):
        with torch.no_grad():
            for p in net.recognizer.parameters():
                p += 0.05 * torch.randn(p.shape, generator=torch.Generator().manual_seed(p.numel()))
    restored = method.restorer(batch.image)
    values = [net.guidance(restored, batch.clean, batch)["attention"][0] for net in (method, frozen)]
    assert values[0].item() != pytest.approx(values[1].item(), rel=1e-4)
    assert method.guidance(batch.clean, batch.clean, batch)["attention"][0] == 0


@pytest.mark.parametrize("name", CASES)
def test_the_recognizer_is_heard_in_the_joint_stage_alone(name):
    method, batch = moved(build(name)), degraded(name)
    method.progress = 0.0
    method.losses(batch, "joint", "restorer")
    method.progress = 1.0
    alone, joint = (method.losses(batch, stage, "restorer") for stage in ("restore", "joint"))
    assert set(joint) - set(alone) == {g for g in method.GUIDES if getattr(method.switches, SWITCH[g])}
    assert not torch.allclose(gradient(method, alone), gradient(method, joint))


@pytest.mark.parametrize("name", CASES)
def test_every_term_requires_grad_and_leaving_it_out_changes_the_restorers_gradient(name):
    method, batch = moved(build(name, **({"task": 0.2} if name == "sr_fer" else {}))), degraded(name)
    method.progress = 0.0
    method.losses(batch, "joint", "restorer")
    method.progress = 1.0
    terms = method.losses(batch, "joint", "restorer")
    whole = gradient(method, terms)
    assert set(method.GUIDES) < set(terms)
    for left_out in terms:
        assert terms[left_out].value.requires_grad, left_out
        less = gradient(method, {k: t for k, t in terms.items() if k != left_out})
        assert (whole - less).norm() > 1e-5 * whole.norm(), left_out


@pytest.mark.parametrize(("name", "row"), [(name, row) for name, row in ROWS if "unguided" in row])
def test_in_an_unguided_row_the_restorer_hears_the_pixels_alone(name, row):
    method, batch = build(name, row), degraded(name, row=row)
    guided = set(method.losses(batch, "joint", "restorer"))
    assert guided and not guided & set(method.GUIDES)
    assert guided == set(method.losses(batch, "restore", "restorer"))


@pytest.mark.parametrize("name", CASES)
def test_a_guide_pulls_at_the_image_with_its_share(name):
    method, batch = moved(build(name, warmup=0.0)), degraded(name)
    method.progress = 0.0
    restored = method.restorer(batch.image).detach().requires_grad_()
    pixel = method.reconstruction(restored, batch.clean, batch.image)
    main = torch.autograd.grad(sum(t.weight * t.value for t in pixel.values()), restored, retain_graph=True, allow_unused=True)
    guided = method._guided(restored, batch.clean, batch, pixel)
    for guide, (value, weight) in guided.items():
        pull = torch.autograd.grad(weight * value, restored, retain_graph=True)[0].norm()
        share = getattr(method.switches, SWITCH[guide])
        assert pull / main[0].norm() == pytest.approx(share, rel=1e-3), guide


def test_guidance_grows_from_nothing_over_the_warm_up():
    method, batch, weights = build("ll_fer", warmup=0.5), degraded("ll_fer"), []
    for progress in (0.0, 0.25, 0.5, 0.75):
        method.progress = progress
        weights.append(float(method.losses(batch, "joint", "restorer")["cross-entropy"].weight))
    assert weights[0] == 0 and weights[1] == pytest.approx(weights[2] / 2) and weights[2] == weights[3] > 0


@pytest.mark.parametrize("name", CASES)
def test_a_killed_run_keeps_its_balance(name, blobs, tmp_path):
    whole = build(name)
    fit(whole, *loaders(name, blobs), TINY, log=str)

    def killed(line):
        if line.startswith("epoch   3"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(build(name), *loaders(name, blobs), TINY, checkpoint=tmp_path / "x.ckpt", log=killed)
    again = build(name)
    fit(again, *loaders(name, blobs), TINY, checkpoint=tmp_path / "x.ckpt", log=str)
    assert not changed(whole.state_dict(), again.state_dict())


@pytest.mark.parametrize("name, row", ROWS)
def test_every_row_predicts_each_image_alone_and_measures_itself(name, row, blobs):
    method = build(name, row)
    recipe = {**METHODS[name].ROWS[row]}
    loader = Loader(blobs(6), 6, size=SIZE, degrade=Degradation.of(recipe.get("degrade", "")))
    together, _ = predict(method, loader)
    alone, _ = predict(method, Loader(blobs(6), 1, size=SIZE, degrade=loader.degrade))
    assert torch.allclose(together, alone, atol=1e-4)
    figures = method.mechanism(loader, build(name).recognizer)
    assert figures["accuracy"] and all(0 <= v <= 1 for v in figures["accuracy"].values())
    assert {"psnr_restored", "ssim_degraded", "feature_distance_4_restored", "prediction_gap_degraded"} <= set(figures)
    restored = method(next(loader.epoch()).image).maps["restored"]
    assert restored.shape == (6, 3, SIZE, SIZE) and 0 <= restored.min() and restored.max() <= 1


def test_psnr_and_ssim_against_numpy():
    rng = np.random.default_rng(0)
    a, b = rng.random((3, 3, 24, 24)).astype(np.float32), rng.random((3, 3, 24, 24)).astype(np.float32)
    a[1] = b[1] + 0.01
    expected = [-10 * np.log10(np.mean((x - y) ** 2)) for x, y in zip(a, b, strict=True)]
    assert np.allclose(psnr(torch.tensor(a), torch.tensor(b)), expected, atol=1e-3)
    where = torch.zeros(3, 1, 24, 24)
    where[..., :5, :7] = 1
    inside = [-10 * np.log10(np.mean((x - y)[:, :5, :7] ** 2)) for x, y in zip(a, b, strict=True)]
    assert np.allclose(psnr(torch.tensor(a), torch.tensor(b), where), inside, atol=1e-3)
    assert psnr(torch.tensor(a), torch.tensor(a)).tolist() == [80.0] * 3
    ours = structural_similarity_index_measure(torch.tensor(a), torch.tensor(b), data_range=1.0, reduction="none")
    by_hand = [ssim_by_hand(x, y) for x, y in zip(a, b, strict=True)]
    assert np.allclose(ours, by_hand, atol=1e-3)
    # The loss has kornia's, over the whole batch: the same windows.
    method = build("ll_fer")
    method.restorer(torch.tensor(a))  # leaves its curves, which another term wants
    term = method.reconstruction(torch.tensor(a), torch.tensor(b), torch.tensor(a))["ssim"]
    assert term.weight * term.value.item() == pytest.approx(0.5 * (1 - np.mean(by_hand)), abs=2e-3)


def ssim_by_hand(a, b):
    """Wang et al. (2004): an 11 x 11 Gaussian window of deviation 1.5, the image mirrored at its edges."""
    tap = np.exp(-((np.arange(11) - 5) ** 2) / (2 * 1.5**2))
    window = np.outer(tap, tap) / tap.sum() ** 2

    def mean(x):
        x = np.pad(x, 5, mode="reflect")
        return np.array([[(x[i : i + 11, j : j + 11] * window).sum() for j in range(24)] for i in range(24)])

    scores = []
    for x, y in zip(a.astype(np.float64), b.astype(np.float64), strict=True):
        mx, my = mean(x), mean(y)
        vx, vy, cov = mean(x * x) - mx**2, mean(y * y) - my**2, mean(x * y) - mx * my
        c1, c2 = 0.01**2, 0.03**2
        scores.append(((2 * mx * my + c1) * (2 * cov + c2)) / ((mx**2 + my**2 + c1) * (vx + vy + c2)))
    return np.mean(scores)


def test_gradient_balance_by_hand():
    image = torch.ones(1, 1, 1, 2, requires_grad=True)
    assert gradient_balance(image, (3 * image).sum(), image.sum()) == pytest.approx(3)
    assert gradient_balance(image, image.sum(), (0 * image).sum()) == 0


def test_distances_are_zero_for_equal_maps_and_two_for_opposite_ones():
    maps = [torch.rand(2, 5, 4, 4) + 0.1]
    assert torch.allclose(feature_distances(maps, maps)[0], torch.zeros(2))
    one, other = torch.zeros(1, 2, 3, 3), torch.zeros(1, 2, 3, 3)
    one[:, 0], other[:, 1] = 1, 5
    assert feature_distances([one], [other])[0].item() == pytest.approx(2)
    assert torch.allclose(energy_map(3 * maps[0]), energy_map(maps[0]), atol=1e-6)
