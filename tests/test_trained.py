"""A weights file alone gives the network back, and its worth on a split; what is wrong with a file gets one sentence."""

import json

import pytest
import torch
from kept_cases import kept
from PIL import Image
from safetensors.torch import load_file, save_file
from tiny_ferplus import ferplus
from torch import nn

from fer_lib.__main__ import main
from fer_lib.errors import FerError
from fer_lib.kept import recognizer_path
from fer_lib.methods.method import Prediction
from fer_lib.parameters import Parameters
from fer_lib.recipe import Recipe
from fer_lib.run import run
from fer_lib.trained import Mirrored, Trained, evaluate, load_trained

TINY = "train_images=16 val_images=16 test_images=16 size=32 epochs=2"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module", params=[("baseline", "R0"), ("clcl", "C3"), ("sr_fer", "S1-B4")], ids=lambda pair: pair[1])
def done(request, folder):
    method, row = request.param
    return run(Parameters(method=method, row=row, profile="smoke", out=str(folder), overrides=TINY), log=lambda line: None, judge=False)


@pytest.fixture
def data(tmp_path, monkeypatch):
    """A FERPlus folder that has a test split and no other."""
    monkeypatch.setenv("FER_LIB_CACHE", str(tmp_path / "cache"))
    return ferplus(tmp_path / "ferplus", ["FER2013Test"])


class Crowd(nn.Module):
    """Names a face 0 if it comes alone, 1 in company."""

    def forward(self, image):
        return Prediction(torch.eye(8)[torch.full((len(image),), int(len(image) > 1))])


def test_the_file_alone_gives_the_network_back(done):
    trained = load_trained(done.path.with_suffix(".safetensors"))
    assert type(trained.method) is type(done.method) and not trained.method.training
    assert trained.about["row"] == done.record.row and trained.recipe.size == 32
    own, other = done.method.state_dict(), trained.method.state_dict()
    assert own.keys() == other.keys() and all(torch.equal(own[k], other[k]) for k in own)
    image = torch.rand(3, 3, 8, 8) if done.record.method == "sr_fer" else torch.rand(3, 3, 32, 32)
    with torch.no_grad():
        assert torch.allclose(done.method.eval()(image).logits, trained.method(image).logits, atol=1e-5)


def test_it_is_measured_face_by_face_and_64_at_a_time(done, data, capsys):
    path = done.path.with_suffix(".safetensors")
    found = evaluate(load_trained(path), "ferplus", str(data), "test", device="cpu")
    own = found.scores["all"]
    assert list(own) == ["batch 1", "batch 64", "with mirror"] and len(found.faces) == 8
    if done.record.row != "C3":  # the one with a batch mean
        assert found.differ == 0 and own["batch 1"].confusion == own["batch 64"].confusion
    assert main(["evaluate", str(path), "--dataset", "ferplus", "--data", str(data), "--split", "test", "--device", "cpu"]) == 0
    said = capsys.readouterr().out
    for word in (f"row {done.record.row}", "batch 1", "batch 64", "8 faces", "accuracy", "macro recall", "recall contempt", "Named otherwise"):
        assert word in said, word
    assert ("degraded as in training: low_resolution:4" in said) == (done.record.row == "S1-B4")
    assert f"{100 * own['batch 64'].values['accuracy']:.2f} %" in said


def test_the_networks_of_the_book_are_measured_too(tmp_path, data, capsys):
    path = recognizer_path("baseline", "R0", "ferplus", kept(tmp_path, [("baseline", "R0", "ferplus")]))
    assert main(["evaluate", str(path), "--dataset", "ferplus", "--data", str(data), "--split", "test", "--device", "cpu"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("baseline row R0, trained on ferplus") and "8 faces" in said and "no face" in said


def test_who_heeds_the_company_is_found_out(data):
    found = evaluate(Trained(Crowd(), Recipe(size=48), {"classes": 8}), "ferplus", str(data), "test", device="cpu")
    assert found.differ == 8 and "Named otherwise alone than among 64: 8 faces" in str(found)
    recalls = [[s.values[f"recall_{name}"] for name in ("neutral", "happiness")] for s in found.scores["all"].values()]
    assert recalls == [[1, 0], [0, 1], [0, 1]]
    with pytest.raises(FerError, match="tells 2 classes apart, ferplus has 8"):
        evaluate(Trained(Crowd(), Recipe(size=48), {"classes": 2}), "ferplus", str(data), "test", device="cpu")


class Sides(nn.Module):
    """Probabilities 0.8, 0.1, 0.1 of a face that is brighter on the left; 0.05, 0.5, 0.45 of its mirror image."""

    def forward(self, image):
        left = image[..., : image.shape[-1] // 2].mean((1, 2, 3)) > image[..., image.shape[-1] // 2 :].mean((1, 2, 3))
        rows = torch.tensor([[0.05, 0.5, 0.45], [0.8, 0.1, 0.1]])
        return Prediction(rows[left.long()].log() + 7)


def test_a_face_and_its_mirror_image_are_named_alike_by_the_mean_of_both():
    face = torch.cat([torch.ones(1, 1, 4, 2), torch.zeros(1, 1, 4, 2)], 3)
    both = Mirrored(Sides())(torch.cat([face, face.flip(-1)])).logits
    geometric = torch.tensor([0.04, 0.05, 0.045]).sqrt()  # the second wins: neither view gives it a small probability
    assert torch.allclose(both.softmax(1), geometric.div(geometric.sum()).expand(2, 3))


def test_evaluation_shows_a_network_the_mirror_images_and_leaves_it_as_it_was(data):
    class LeftSide(nn.Module):
        """Names a face 0 that is white at its left edge, and 1, with more confidence, one that is not."""

        def forward(self, image):
            bright = image[:, 0, 0, 0] > 0.5
            return Prediction(torch.eye(8)[torch.where(bright, 0, 1)] * torch.where(bright, 4.0, 9.0)[:, None])

    for k in range(8):  # white at the left edge
        face = Image.new("L", (48, 48), 10 * k)
        face.paste(255, (0, 0, 8, 48))
        face.save(data / "FER2013Test" / f"fer{k:07d}.png")
    trained = Trained(LeftSide().eval(), Recipe(size=48), {"classes": 8})
    found = evaluate(trained, "ferplus", str(data), "test", device="cpu")
    assert {how: set(named.tolist()) for how, named in found.named.items()} == {"batch 1": {0}, "batch 64": {0}, "with mirror": {1}}
    assert not trained.method.training


def test_the_faces_with_a_clear_majority_are_measured_apart_and_all_is_written(done, data, tmp_path, capsys):
    path, out, labels = done.path.with_suffix(".safetensors"), tmp_path / "found.json", data / "FER2013Test" / "label.csv"
    labels.write_text(labels.read_text().replace("0,0,0,0,0,0,0,9,0,0", "3,2,0,0,0,0,0,4,0,0"))  # the last of eight
    asked = ["evaluate", str(path), "--dataset", "ferplus", "--data", str(data), "--split", "test", "--device", "cpu", "--out"]
    assert main([*asked, str(out)]) == 0
    assert "7 of them, with a clear majority" in capsys.readouterr().out
    found = json.loads(out.read_text())
    assert found["network"]["row"] == done.record.row and found["split"] == "test" and set(found["scores"]) == {"all", "clear"}
    for which, count in (("all", 8), ("clear", 7)):
        assert [sum(map(sum, s["confusion"])) for s in found["scores"][which].values()] == [count] * 3
    assert {len(named) for named in found["named"].values()} == {8}
    assert main([*asked, str(tmp_path / "none" / "found.json")]) == 2
    assert "There is no folder" in capsys.readouterr().err


def test_what_is_wrong_is_said(done, data, tmp_path, capsys):
    path, other = done.path.with_suffix(".safetensors"), tmp_path / "other.safetensors"
    save_file(load_file(path), other)
    with pytest.raises(FerError, match="does not say what network it holds"):
        load_trained(other)
    other.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(FerError, match="is damaged: copy it again"):
        load_trained(other)
    with pytest.raises(FerError, match="There is no weights file"):
        load_trained(tmp_path / "none.safetensors")
    assert main(["evaluate", str(path), "--dataset", "ferplus", "--data", str(data), "--split", "val"]) == 2
    assert "has no FER2013Valid: add it" in capsys.readouterr().err
