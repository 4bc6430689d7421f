"""A weights file alone gives the network back, and its worth on a split; what is wrong with a file gets one sentence."""

import zipfile

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from fer_lib.__main__ import main
from fer_lib.data.ferplus import FOLDERS
from fer_lib.errors import FerError
from fer_lib.parameters import Parameters
from fer_lib.run import run
from fer_lib.trained import evaluate, load_trained

TINY = "train_images=16 val_images=16 test_images=16 size=32 epochs=2"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module", params=[("baseline", "R0"), ("clcl", "C3"), ("sr_fer", "S1-B4")], ids=lambda pair: pair[1])
def done(request, folder):
    method, row = request.param
    return run(Parameters(method=method, row=row, profile="smoke", out=str(folder), overrides=TINY), log=lambda line: None, judge=False)


@pytest.fixture
def archive(tmp_path, monkeypatch):
    """A FERPlus archive with a test split, 24 faces of noise, three of each class."""
    from PIL import Image

    monkeypatch.setenv("FER_LIB_CACHE", str(tmp_path / "cache"))
    path, rng, order = tmp_path / "ferplus.zip", np.random.default_rng(0), [0, 1, 2, 3, 4, 5, 6, 7]
    with zipfile.ZipFile(path, "w") as file:
        rows = []
        for i in range(24):
            Image.fromarray(rng.integers(0, 256, (48, 48), np.uint8)).save(tmp_path / "face.png")
            file.write(tmp_path / "face.png", f"{FOLDERS['test']}/fer{i:07d}.png")
            votes = [10 if k == order[i % 8] else 0 for k in range(10)]
            rows.append(",".join(map(str, (f"fer{i:07d}.png", '"(0, 0, 48, 48)"', *votes))))
        file.writestr(f"{FOLDERS['test']}/label.csv", "\n".join(rows) + "\n")
    return path


def test_the_file_alone_gives_the_network_back(done):
    trained = load_trained(done.path.with_suffix(".safetensors"))
    assert type(trained.method) is type(done.method) and not trained.method.training
    assert trained.about["row"] == done.record.row and trained.recipe.size == 32
    own, other = done.method.state_dict(), trained.method.state_dict()
    assert own.keys() == other.keys() and all(torch.equal(own[k], other[k]) for k in own)
    image = torch.rand(3, 3, 8, 8) if done.record.method == "sr_fer" else torch.rand(3, 3, 32, 32)
    with torch.no_grad():
        assert torch.allclose(done.method.eval()(image).logits, trained.method(image).logits, atol=1e-5)


def test_it_is_measured_face_by_face_and_64_at_a_time(done, archive, capsys):
    path = done.path.with_suffix(".safetensors")
    found = evaluate(load_trained(path), "ferplus", str(archive), "test", device="cpu")
    assert set(found.scores) == {1, 64} and len(found.faces) == 24
    same = found.scores[1].confusion == found.scores[64].confusion
    assert found.differ == 0 and same if done.record.row != "C3" else True
    assert main(["evaluate", str(path), "--dataset", "ferplus", "--data", str(archive), "--split", "test", "--device", "cpu"]) == 0
    said = capsys.readouterr().out
    for word in (f"row {done.record.row}", "batch 1", "batch 64", "24 faces", "accuracy", "macro recall", "recall contempt", "Named otherwise"):
        assert word in said, word
    assert ("degraded as in training: low_resolution:4" in said) == (done.record.row == "S1-B4")
    assert f"{100 * found.scores[64].values['accuracy']:.2f} %" in said


def test_what_is_wrong_is_said(done, archive, tmp_path, capsys):
    path, other = done.path.with_suffix(".safetensors"), tmp_path / "other.safetensors"
    save_file(load_file(path), other)
    with pytest.raises(FerError, match="does not say what network it holds"):
        load_trained(other)
    other.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(FerError, match="is damaged: copy it again"):
        load_trained(other)
    with pytest.raises(FerError, match="There is no weights file"):
        load_trained(tmp_path / "none.safetensors")
    assert main(["evaluate", str(path), "--dataset", "ferplus", "--data", str(archive), "--split", "val"]) == 2
    assert "has no FER2013Valid: add it" in capsys.readouterr().err
