"""The networks that come with the book: they load, do their work, and what is wrong with a file is said."""

import shutil
import subprocess

import pytest
import torch
from kept_cases import ROWS, untrained
from safetensors import safe_open
from safetensors.torch import save_file

from fer_lib import kept
from fer_lib.data.degradation import Degradation
from fer_lib.data.degrade import upsample
from fer_lib.data.faces import make_faces
from fer_lib.errors import FerError
from fer_lib.kept import SUMS, TRAINING_ONLY, WEIGHTS, is_kept, keep, kept_recognizers, load_recognizer, load_restorer, recognizer_path, write_sums
from fer_lib.methods.cascade import psnr

FILES = sorted(path.stem for path in WEIGHTS.glob("*_fer-*.safetensors") if not path.stem.endswith("-whole"))
RECOGNIZERS = kept_recognizers()


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
    shutil.copy(WEIGHTS / "sr_fer-S5.safetensors", tmp_path / "ll_fer-A7.safetensors")
    with pytest.raises(FerError, match="is damaged or of another network: fetch it again"):
        load_restorer("ll_fer", "A7")
    write_sums(tmp_path)  # its checksum is right then, and it still is another network
    with pytest.raises(FerError, match="is damaged or of another network: fetch it again"):
        load_restorer("ll_fer", "A7")
    with pytest.raises(FerError, match="has no row 'A99'"):
        load_restorer("ll_fer", "A99")


def test_every_file_has_its_checksum():
    listed = {line.split()[1] for line in (WEIGHTS / SUMS).read_text().splitlines()}
    assert listed == {path.name for path in WEIGHTS.glob("*.safetensors")}
    if shutil.which("sha256sum"):
        assert subprocess.run(["sha256sum", "--check", "--quiet", SUMS], cwd=WEIGHTS).returncode == 0


@pytest.mark.parametrize("path", RECOGNIZERS, ids=lambda path: path.stem)
def test_a_whole_recognizer_is_small_has_its_card_and_reads_faces(path, faces):
    assert path.stat().st_size <= 1.5e6
    card = (WEIGHTS / "recognizers.md").read_text()
    assert f"`{path.name}`" in card and "recall" in card
    trained = load_recognizer(path)
    if trained.about["dataset"] == "faces":
        spoil, labels = Degradation.of(trained.recipe.degrade), make_faces(24, "test", seed=1, size=64).labels
        small = upsample(faces, trained.recipe.size)
        with torch.no_grad():
            said = trained.method(small if spoil is None else spoil(small, torch.arange(24))).logits.argmax(1)
        assert (said == labels).float().mean() > 0.3  # chance is an eighth


@pytest.mark.parametrize(("method", "row"), ROWS, ids=lambda name: name)
def test_a_whole_recognizer_comes_back_rounded_and_without_what_training_needs(method, row, tmp_path):
    first, path = untrained(method, row), recognizer_path(method, row, "faces", tmp_path)
    whole = {name: x.clone() for name, x in first.method.state_dict().items()}
    keep(first, path)
    write_sums(tmp_path)
    back = load_recognizer(path)
    for name, x in back.method.state_dict().items():
        # 8 bits for a matrix or kernel: at most half of the step away, a 127th of the channel's largest; else 16 bits.
        step = whole[name].abs().amax(tuple(range(1, x.ndim)), keepdim=True) / 127 if x.ndim > 1 else whole[name].abs() / 1024
        assert ((x - whole[name]).abs() <= 0.501 * step + 1e-7).all(), name
    again = recognizer_path(method, row, "again", tmp_path)
    keep(back, again)
    write_sums(tmp_path)
    image = torch.rand(2, 3, 8, 8) if method == "sr_fer" else torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.allclose(back.method(image).logits, load_recognizer(again).method(image).logits, atol=1e-4)
    again.unlink()
    assert not any(hasattr(back.method, part) for part in TRAINING_ONLY) and not back.method.training
    with safe_open(path, "pt") as file:
        kinds = {file.get_tensor(name).dtype for name in file.keys()}  # noqa: SIM118
    assert kinds <= {torch.int8, torch.float32, torch.float16, torch.int64}
    assert kept_recognizers(tmp_path) == [path]


def test_a_damaged_recognizer_is_refused(tmp_path):
    path = recognizer_path("baseline", "R0", "faces", tmp_path)
    with pytest.raises(FerError, match="The book has no weights baseline-R0-faces-whole.safetensors"):
        load_recognizer(path)
    write_sums(tmp_path)
    keep(untrained("baseline", "R0"), path)
    with pytest.raises(FerError, match="is damaged or of another network: fetch it again, and SHA256SUMS beside it"):
        load_recognizer(path)  # not listed yet
    write_sums(tmp_path)
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))  # one bit
    with pytest.raises(FerError, match="is damaged or of another network"):
        load_recognizer(path)
    path.write_bytes(whole[: len(whole) // 2])
    write_sums(tmp_path)
    with pytest.raises(FerError, match="is damaged or of another network"):
        load_recognizer(path)


def test_weights_that_do_not_fit_are_not_kept(tmp_path):
    large = untrained("baseline", "R0")
    with torch.no_grad():
        large.method.head.weight[0, 0] = 1e6
    with pytest.raises(FerError, match="head.weight are too large for 16 bits"):
        keep(large, tmp_path / "large-whole.safetensors")


def test_a_kept_file_is_known_by_what_it_holds_and_loads_alone_under_any_name(tmp_path):
    """As somebody has it who fetched this one file."""
    first, path = untrained("baseline", "R0"), tmp_path / "mine.safetensors"
    keep(first, path)
    assert is_kept(path) and not (tmp_path / SUMS).exists()
    image = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.allclose(load_recognizer(path).method(image).logits, first.method(image).logits, atol=0.05)
    plain, broken = tmp_path / "run.safetensors", tmp_path / "broken.safetensors"
    save_file(first.method.state_dict(), plain)
    broken.write_bytes(path.read_bytes()[:100])
    assert not is_kept(plain) and not is_kept(broken) and not is_kept(tmp_path / "none.safetensors")
    with pytest.raises(FerError, match="is damaged or of another network"):
        load_recognizer(broken)
