"""The restorers that come with the book: they load, restore, and say what is wrong with a file."""

import pytest
import torch

from fer_lib import kept
from fer_lib.data.degradation import Degradation
from fer_lib.data.degrade import upsample
from fer_lib.data.faces import make_faces
from fer_lib.errors import FerError
from fer_lib.kept import WEIGHTS, load_restorer
from fer_lib.methods.cascade import psnr

FILES = sorted(path.stem for path in WEIGHTS.glob("*_fer-*.safetensors"))


@pytest.fixture(scope="module")
def faces():
    return make_faces(24, "test", seed=1, size=64).images.float() / 255


def test_there_are_some_and_they_are_small():
    assert {"ll_fer-A4", "ll_fer-A4-zero-dce", "ll_fer-A7", "sr_fer-S2", "sr_fer-S5"} <= set(FILES)
    assert sum(path.stat().st_size for path in WEIGHTS.iterdir()) < 8e6
    card = (WEIGHTS / "README.md").read_text()
    assert all(f"| {name.replace('-', ' ', 1)} |" in card for name in FILES)


@pytest.mark.parametrize("name", FILES)
def test_a_restorer_beats_what_it_is_given_on_faces_it_has_never_seen(name, faces):
    method, _, row = name.partition("-")
    spoil = Degradation.of("low_light:medium" if method == "ll_fer" else "low_resolution:4")
    bad = spoil(faces, torch.arange(len(faces)))
    with torch.no_grad():
        better = load_restorer(method, row)(bad).clamp(0, 1)
    assert better.shape == faces.shape
    # FSRCNN hardly beats the bicubic enlargement at this budget, as its record says, too.
    assert (psnr(better, faces) - psnr(upsample(bad, 64), faces)).mean() > (0 if "fsrcnn" in name else 0.5)


def test_a_control_needs_no_file(faces):
    assert torch.equal(load_restorer("ll_fer", "A1")(faces), faces)


def test_faults_in_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr(kept, "WEIGHTS", tmp_path)
    with pytest.raises(FerError, match="The book has no weights ll_fer-A7.safetensors: choose a row that lies in"):
        load_restorer("ll_fer", "A7")
    (tmp_path / "ll_fer-A7.safetensors").write_bytes(b"x" * 100)
    with pytest.raises(FerError, match="is damaged or of another network: fetch it again"):
        load_restorer("ll_fer", "A7")
    (tmp_path / "ll_fer-A7.safetensors").write_bytes((WEIGHTS / "sr_fer-S5.safetensors").read_bytes())
    with pytest.raises(FerError, match="is damaged or of another network: fetch it again"):
        load_restorer("ll_fer", "A7")
    with pytest.raises(FerError, match="has no row 'A99'"):
        load_restorer("ll_fer", "A99")
