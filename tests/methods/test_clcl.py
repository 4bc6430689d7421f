"""Who is pulled by which contrast, what each row changes, and whose answer depends on its batch."""

from dataclasses import replace

import pytest
import torch

from fer_lib.data.faces import make_faces
from fer_lib.data.loader import Batch, Loader
from fer_lib.emotions import NAMES
from fer_lib.errors import FerError
from fer_lib.evaluate import predict
from fer_lib.explain import learning_intensity
from fer_lib.methods import METHODS
from fer_lib.methods.clcl import CLCL
from fer_lib.methods.latent import centre, cluster_loss, find_anchors, find_members, hash_code
from fer_lib.methods.method import Prediction
from fer_lib.methods.probes import channel_parts, part_map, rand_index
from fer_lib.nets.backbone import Backbone
from fer_lib.nets.clusters import nearest
from fer_lib.recipe import Recipe
from fer_lib.train import fit

SIZE = 32
TINY = Recipe(size=SIZE, epochs=2, batch_size=16, lr=0.003, precision="fp32", warmup=0.0)
CONTRASTS = ("CLBS", "CLFM")


def build(row="B4", **changes):
    torch.manual_seed(0)
    switches = CLCL.Switches(**{"width": 8, **CLCL.ROWS[row], **changes})
    method = CLCL(switches, Backbone("resnet10_narrow", 2, size=SIZE), 8)
    for norm in (m for m in method.modules() if isinstance(m, torch.nn.BatchNorm2d)):
        torch.nn.init.ones_(norm.weight)  # timm starts some at zero, and nothing flows through those
    return method


def batch(count=16):
    torch.manual_seed(1)
    label = torch.arange(count) % 8
    return Batch(torch.rand(count, 3, SIZE, SIZE), label, label)


def test_votes_are_the_target_of_the_cross_entropies_and_of_nothing_else():
    method, votes = build(auxiliary=0.1).eval(), torch.rand(16, 8).softmax(1)
    hard, soft = (method.losses(replace(batch(), target=target), "train", "all") for target in (None, votes))
    logits = method(batch().image).logits
    assert torch.allclose(soft["cross-entropy"].value, -(votes * logits.log_softmax(1)).sum(1).mean())
    assert torch.allclose(hard["cross-entropy"].value, -logits.log_softmax(1)[range(16), batch().label].mean())
    assert {name for name in hard if not torch.equal(hard[name].value, soft[name].value)} == {"cross-entropy", "auxiliary"}


def pulled(method, name):
    """The blocks of the backbone whose weights a term pulls at, and the other modules."""
    value = method.losses(batch(), "train", "all")[name].value
    names, parameters = zip(*method.named_parameters(), strict=True)
    grads = torch.autograd.grad(value, parameters, allow_unused=True)
    reached = {n for n, g in zip(names, grads, strict=True) if g is not None and g.abs().sum() > 0}
    layers = {n.split(".")[2] for n in reached if "layer" in n}
    return layers, {".".join(n.split(".")[:3]) for n in reached if not n.startswith("backbone")}


@pytest.mark.parametrize("variant", ["repaired", "infonce"])
@pytest.mark.parametrize("stages", ["1", "2", "3", "123"])
def test_a_contrast_reaches_the_aligned_stages_and_not_the_deep_one(variant, stages):
    method = build(variant=variant, stages=stages)
    below = {f"layer{k}" for k in range(1, int(stages[-1]) + 1)}
    assert pulled(method, "CLFM") == (below, set())
    layers, others = pulled(method, "CLBS")
    assert layers == below
    # Only weights: a bias is what all faces share, and centring takes that away.
    weights = {n for n in others if n.startswith("samples") and n.endswith("weight")}
    assert weights == {f"samples.{int(j) - 1}.weight" for j in stages}
    assert {n for n in others if "convs" in n} == {f"scales.convs.{int(j) - 1}" for j in stages}


@pytest.mark.parametrize("clusters", ["kmeans", "label"])
@pytest.mark.parametrize("stages", ["1", "2", "3", "12", "123"])
@pytest.mark.parametrize("name", CONTRASTS)
def test_a_contrast_pulls_at_the_maps_of_the_aligned_stages_alone(name, stages, clusters):
    method = build(stages=stages, clusters=clusters)
    seen = method(batch().image)
    # A deeper map hangs on a shallower one, but what is asked here is the map itself: cut the way between.
    apart = [x.detach().requires_grad_() for x in seen.stages]
    scales = method.scales(apart)[1]
    cut = Prediction(seen.logits, apart, {f"scale_{j}": x for j, x in enumerate(scales, 1)})
    pulls = torch.autograd.grad(method.terms(cut, batch())[name].value, apart, allow_unused=True)
    assert [g is not None and bool(g.abs().sum() > 0) for g in pulls] == [str(j) in stages for j in (1, 2, 3, 4)]


def test_the_release_passes_no_gradient_for_channels_and_one_for_faces():
    method = build("B4-release")
    terms = method.losses(batch(), "train", "all")
    assert not terms["CLFM"].value.requires_grad and terms["CLFM"].value < 0
    assert pulled(method, "CLBS")[0] == {"layer1", "layer2"}
    without = build("B4-release", clfm=0.0).losses(batch(), "train", "all")
    weight = next(method.backbone.parameters())
    with_it = torch.autograd.grad(sum(t.weight * t.value for t in terms.values()), weight)[0]
    weight = next((other := build("B4-release", clfm=0.0)).backbone.parameters())
    terms = other.losses(batch(), "train", "all")
    assert set(without) == {"cross-entropy", "CLBS"}
    assert torch.equal(with_it, torch.autograd.grad(sum(t.weight * t.value for t in terms.values()), weight)[0])


@pytest.mark.parametrize("row", ["B4", "B4-infonce", "B4-label", "C1", "C2"])
def test_every_term_requires_grad_and_leaving_it_out_changes_the_gradient_of_stage_one(row):
    method = build(row)
    terms = method.losses(batch(), "train", "all")
    weight = method.backbone.body.layer1[0].conv1.weight

    def gradient(names):
        return torch.autograd.grad(sum(terms[n].weight * terms[n].value for n in names), weight, retain_graph=True)[0]

    whole = gradient(terms)
    for name, term in terms.items():
        assert term.value.requires_grad, name
        assert (whole - gradient(set(terms) - {name})).norm() > 1e-6 * whole.norm(), name


def test_the_terms_of_each_row():
    expected = {"B0": (), "B1": (), "B2": ("CLBS",), "B3": ("CLFM",), "B4": CONTRASTS, "C1": ("auxiliary",), "C2": CONTRASTS}
    for row, names in expected.items():
        terms = build(row).losses(batch(), "train", "all")
        assert set(terms) == {"cross-entropy", *names}
        assert all(terms[name].weight == 0.1 for name in names)


def test_shuffled_centroids_are_never_ones_own():
    method, data = build("C2").eval(), batch()
    honest = build("B4").eval()
    honest.load_state_dict(method.state_dict())
    for name in CONTRASTS:
        values = [method.losses(data, "train", "all")[name].value.item() for _ in range(4)]
        assert min(values) > honest.losses(data, "train", "all")[name].value.item() + 0.1


def test_a_strangers_clusters_can_be_agreed_with_and_are_not_ones_own():
    method, honest, data = build("C2-stranger").eval(), build("B3").eval(), batch()
    strange, own = (m.losses(data, "train", "all")["CLFM"].value for m in (method, honest))
    assert strange.requires_grad and not torch.isclose(strange, own)
    same = Batch(data.image[:1].expand(16, -1, -1, -1), data.label[:1].expand(16), data.index)
    strange, own = (m.losses(same, "train", "all")["CLFM"].value for m in (method, honest))
    assert torch.isclose(strange, own, atol=1e-5)


def test_learning_intensity_separates_the_contrasts_from_the_classification():
    data, plain, full = batch(), build("B1"), build("B4")
    full.load_state_dict(plain.state_dict(), strict=False)
    without, with_it = learning_intensity(plain, data), learning_intensity(full, data)
    assert without["total"] == pytest.approx(without["cross-entropy"])
    assert with_it["cross-entropy"] == pytest.approx(without["cross-entropy"], rel=1e-4)
    assert all(with_it["total"][k] > 1.01 * without["total"][k] for k in range(3))
    assert with_it["total"][3] == pytest.approx(without["total"][3], rel=1e-4)


@pytest.mark.parametrize("row", ["B0", "B1-sum", "B4", "B4-release", "B4-label", "C1", "C3", "C3-running"])
def test_every_kind_of_row_measures_itself_and_predicts_each_image_alone_but_one(row, blobs):
    method = build(row)
    method(torch.rand(8, 3, SIZE, SIZE))
    faces = blobs(16, "val")
    together, _ = predict(method, Loader(faces, 16, size=SIZE))
    alone, _ = predict(method, Loader(faces, 1, size=SIZE))
    assert torch.allclose(together, alone, atol=1e-5) == (row != "C3")
    figures = method.mechanism(Loader(faces, 16, size=SIZE))
    assert set(figures["probe"]) == {"1", "2", "3", "4"}
    assert -1 <= figures["align_channels_own_1"] <= 1 and "align_channels_stranger_1" in figures
    assert ("align_faces_own_1" in figures) == (method.switches.clbs > 0)
    assert ("neighbours" in figures) == (row in ("C3", "C3-running"))
    assert figures["rank_channels_4"] > 0 and all(0 <= figures.get(f"kept_{j}", 0) <= 1 for j in (1, 2, 3))
    if row != "B0":
        assert sum(figures["scales"]) == pytest.approx(4 if row == "B1-sum" else 1, abs=1e-5) and len(figures["scales_by_emotion"]) == 8


def test_the_release_takes_channels_along_the_clusters_and_faces_along_the_code():
    method = build("B4-release")
    seen = method(batch().image)
    terms = method.terms(seen, batch())
    codes = {"CLFM": [hash_code(x) for x in seen.stages], "CLBS": [x[None] for x in method.face_codes(seen)]}
    for name, k, axis in (("CLFM", 4, 1), ("CLBS", 7, 2)):
        anchors = find_anchors(codes[name][3], k)
        by_axis = [cluster_loss(*find_members(codes[name][1], anchors), anchors, "release", a).item() for a in (1, 2)]
        assert terms[name].value.item() == pytest.approx(by_axis[axis - 1]) and by_axis[0] != pytest.approx(by_axis[1], abs=1e-3)


def test_scales_by_emotion_and_parts_are_means_over_the_right_faces():
    method, faces = build("B4").eval(), make_faces(48, "test", size=SIZE)
    figures = method.mechanism(Loader(faces, 48, size=SIZE))
    whole = next(Loader(faces, 48, size=SIZE).epoch())
    with torch.no_grad():
        seen = method(whole.image)
    for k, name in enumerate(NAMES):
        assert figures["scales_by_emotion"][name] == pytest.approx(seen.maps["scale_weights"][whole.label == k].mean(0).tolist(), abs=1e-5)
    codes = method.channel_codes(seen)
    anchors = find_anchors(centre(codes[3]), 4)
    for j, stage in enumerate(seen.stages, 1):
        parts = channel_parts(stage, part_map(whole.landmarks, SIZE, stage.shape[-1]))
        expected = rand_index(nearest(centre(codes[j - 1]), anchors.centroids), parts).nanmean().item()
        assert figures[f"parts_{j}"] == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("batches", [16, 64])
def test_the_figures_do_not_depend_on_the_loaders_batches(batches):
    method, faces = build("B4"), make_faces(100, "test", size=SIZE)
    figures = [method.mechanism(Loader(faces, size, size=SIZE)) for size in (batches, 100)]
    nested = {name for name, value in figures[0].items() if isinstance(value, dict)}
    for one, other in [*((figures[0][n], figures[1][n]) for n in nested), [{k: v for k, v in f.items() if k not in nested} for f in figures]]:
        assert set(one) == set(other) and all(one[k] == pytest.approx(other[k], abs=1e-5) for k in one)
    assert {"parts_1", "agree_1", "kept_1", "emotions", "intensity_total_1"} <= set(figures[0])
    with torch.no_grad():
        codes = [centre(code[None]) for code in method.eval().face_codes(method(next(Loader(faces, 100, size=SIZE).epoch()).image))]
    deep = find_anchors(codes[3], 7)
    kept = (nearest(codes[1], deep.centroids) == deep.own).float().mean().item()
    assert 0 < kept < 1 and figures[0]["kept_2"] == pytest.approx(kept)


def test_reading_kept_maps_is_reading_batches_of_images(blobs):
    method = build("C3")
    method(torch.rand(8, 3, SIZE, SIZE))
    faces = blobs(16, "val")
    order = torch.randperm(16)
    with torch.no_grad():
        maps = method.eval()(next(Loader(faces, 16, size=SIZE).epoch()).image).maps["head_map"]
    whole, _ = predict(method, Loader(faces.subset(order), 4, size=SIZE))
    assert torch.allclose(method.read_in_batches(maps, order, 4)[order], whole, atol=1e-5)


def test_neighbours_of_ones_own_class_tell_the_answer():
    method = build("C3").eval()
    labels = torch.arange(8).repeat_interleave(64)
    with torch.no_grad():
        method.head.linear.weight.zero_()[:, :8] = torch.eye(8)
        method.head.linear.bias.zero_()
    maps = torch.randn(512, 121, generator=torch.Generator().manual_seed(0))
    maps[torch.arange(512), labels] += 1
    found = method._neighbours(maps, labels)
    assert found["64 in order"] > found["64 shuffled"] + 0.1 and found["64 in order"] > found["1"] + 0.1


def test_the_moving_average_learns_in_the_training_loop(blobs):
    method = build("C3-running")
    train = Loader(blobs(32), 16, size=SIZE, sampler="shuffled")
    fit(method, train, Loader(blobs(16, "val"), 16, size=SIZE), TINY, log=str)
    assert method.head.running_map.abs().max() > 0


def test_the_contrast_is_finite_in_mixed_precision():
    with torch.autocast("cpu", torch.bfloat16):
        terms = build().losses(batch(), "train", "all")
    assert all(terms[name].value.dtype == torch.float32 and terms[name].value.isfinite() for name in CONTRASTS)


def test_it_is_among_the_methods():
    assert METHODS["clcl"] is CLCL


@pytest.mark.parametrize(
    "switches, sentence",
    [
        ({"scales": "mean"}, "scales cannot be 'mean': choose one of none, sum, gate, softmax"),
        ({"variant": "paper"}, "variant cannot be 'paper': choose one of repaired"),
        ({"stages": "34"}, "stages cannot be '34': write the numbers of shallow stages"),
        ({"face_clusters": 1}, "face_clusters and channel_clusters must be 2 or more"),
        ({"clusters": "stranger"}, "with clusters=stranger set clbs=0"),
        ({"scales": "none"}, "With scales=none there is no fused map"),
    ],
)
def test_refusals(switches, sentence):
    with pytest.raises(FerError, match=sentence):
        CLCL.Switches(**switches)
