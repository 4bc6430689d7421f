"""A run from parameters to record, in the notebook's way and in the command line's."""

import os
import signal
import subprocess
import sys
from copy import deepcopy
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load_file
from tiny_ferplus import ferplus

from fer_lib.__main__ import main
from fer_lib.errors import FerError
from fer_lib.methods import METHODS, owner
from fer_lib.methods.baseline import Baseline
from fer_lib.methods.method import Player, Stage
from fer_lib.parameters import PROFILES, Parameters
from fer_lib.record import read_record, write_record
from fer_lib.run import recognizer_weights, run
from fer_lib.sources import sources

ROOT = Path(__file__).resolve().parent.parent
SMALL = "train_images=48 val_images=16 test_images=16 size=32 batch_size=16"


def test_a_run_writes_one_record_and_its_weights(tmp_path):
    lines = []
    result = run(Parameters(profile="smoke", seed=1, out=str(tmp_path), overrides=SMALL), log=lines.append)
    assert sorted(p.name for p in (tmp_path / "baseline").iterdir()) == [
        f"{result.path.stem}.json",
        f"{result.path.stem}.safetensors",
    ]
    record = read_record(result.path)
    assert record == result.record and not record.stale()
    assert record.split == "test" and len(record.labels) == 16 and len(record.history) == 2
    assert record.parameters["train_images"] == 48 and record.parameters["target"] == "hard"
    assert record.metrics["accuracy"] == pytest.approx(record.hits().float().mean().item())
    assert set(record.fingerprint) == {"train", "val", "test"}
    weights = load_file(result.path.with_suffix(".safetensors"))
    assert all(torch.equal(v, weights[k]) for k, v in result.method.state_dict().items())
    assert len(lines) == 3 and "record" in lines[-1]


def test_a_run_trains_on_the_target_that_its_recipe_names(tmp_path):
    """One step from the same weights: what is lowered differs by the target alone."""
    losses = set()
    for target in ("hard", "smooth"):
        changed = f"{SMALL} epochs=1 batch_size=48 target={target}"
        record = run(Parameters(profile="smoke", out=str(tmp_path), overrides=changed), log=lambda line: None).record
        losses.add(record.history[0]["all/cross-entropy"])
    assert len(losses) == 2


def test_a_run_on_degraded_images_with_a_mechanism(tmp_path, monkeypatch):
    monkeypatch.setattr(Baseline, "mechanism", lambda self, loader, judge: {"side": next(loader.epoch()).image.shape[-1]})
    changed = Parameters(profile="smoke", out=str(tmp_path), overrides=f"{SMALL} degrade=low_resolution:4")
    record = run(changed, log=lambda line: None).record
    assert record.mechanism == {"side": 8} and record.parameters["degrade"] == "low_resolution:4"


class Follower(Baseline):
    """Keeps the trained baseline beside itself."""

    name, starts_from, judged_by = "follower", "R0", "R0"

    def __init__(self, switches, backbone, classes):
        super().__init__(switches, backbone, classes)
        self.recognizer = deepcopy(Baseline(switches, backbone, classes))

    def stages(self):
        return (Stage("train", (Player("all", ("backbone", "head")),)),)

    def mechanism(self, loader, judge=None):
        own = self.recognizer.state_dict()
        return {"judge": any(not torch.equal(own[k], v) for k, v in judge.state_dict().items())} if judge else {}


def test_a_method_that_starts_from_the_baseline_trains_it_once(tmp_path, monkeypatch):
    monkeypatch.setitem(METHODS, "follower", Follower)
    options = dict(profile="smoke", out=str(tmp_path), overrides=f"{SMALL} degrade=low_light:mild")
    lines = []
    result = run(Parameters(method="follower", **options), log=lines.append)
    method, record = result.method, result.record
    assert lines[0].startswith("first a recognizer that is needed: baseline R0-faces-smoke-")
    file, other = sorted((tmp_path / "baseline").glob("*.safetensors"))
    assert (file.name[-17:], other.name[-17:]) == ("seed0.safetensors", "seed1.safetensors")
    assert "degrade" not in file.name
    assert record.mechanism == {"judge": True}
    weights = load_file(file)
    assert all(torch.equal(v, weights[k]) for k, v in method.recognizer.state_dict().items())
    lines.clear()
    run(Parameters(method="follower", row="R1", **options), log=lines.append, judge=False)
    assert lines[0].startswith("epoch   1")


def test_a_judge_is_trained_at_the_size_that_it_judges():
    (judge,) = Parameters(method="err_net", row="E5", profile="quick").recognizers().values()
    assert judge.resolve()[0].size == Parameters(method="err_net", row="E5", profile="quick").resolve()[0].size == 48
    (judge,) = Parameters(method="err_net", row="E5", profile="quick", overrides="size=32").recognizers().values()
    assert judge.overrides == "size=32"


def test_a_judge_without_a_start_and_a_recognizer_of_other_parameters(tmp_path, monkeypatch):
    monkeypatch.setattr(Follower, "starts_from", "")
    monkeypatch.setitem(METHODS, "follower", Follower)
    parameters = Parameters(method="follower", profile="smoke", out=str(tmp_path), overrides=SMALL)
    (judge,) = parameters.recognizers().values()
    assert (judge.method, judge.row, judge.seed) == ("baseline", "R0", 1)
    assert run(parameters, log=lambda line: None).record.mechanism == {"judge": True}
    (weights,) = (tmp_path / "baseline").glob("*.safetensors")
    assert recognizer_weights(judge, log=None) == weights, "it is there, so nothing is said and nothing trained"
    path = weights.with_suffix(".json")
    record = read_record(path)
    record.parameters["lr"] = 1.0
    write_record(record, path)
    lines = []
    assert recognizer_weights(judge, log=lines.append) == weights and lines[0].startswith("first a recognizer")


def test_a_recognizer_that_learned_other_faces_is_not_taken(tmp_path):
    data = ferplus(tmp_path / "ferplus")
    parameters = Parameters(dataset="ferplus", data=str(data), profile="smoke", out=str(tmp_path / "runs"), overrides=SMALL)
    lines = []
    weights = recognizer_weights(parameters, log=lines.append)
    assert recognizer_weights(parameters, log=None) == weights
    Image.new("L", (48, 48), 255).save(data / "FER2013Valid" / "fer0000000.png")
    lines.clear()
    recognizer_weights(parameters, log=lines.append)
    assert lines[0].startswith("first a recognizer")


def test_weights_that_cannot_be_written_leave_the_checkpoint(tmp_path, monkeypatch):
    def full(*args):
        raise SafetensorError("No space left on device")

    parameters = Parameters(profile="smoke", out=str(tmp_path), overrides=SMALL)
    monkeypatch.setattr("fer_lib.run.save_file", full)
    with pytest.raises(FerError, match=r"Weights .*\.safetensors could not be written .*No space left.*: free some space"):
        run(parameters, log=lambda line: None)
    monkeypatch.undo()
    assert [path.suffix for path in (tmp_path / "baseline").iterdir()] == [".ckpt"]
    lines = []
    run(parameters, log=lines.append)
    assert lines[0] == "continuing after epoch 2"


def test_folds_count_only_where_there_are_folds(tmp_path):
    with pytest.raises(FerError, match="faces has new people in every split and no folds: fold must be 0, not 1"):
        run(Parameters(profile="smoke", out=str(tmp_path), fold=1))
    with pytest.raises(FerError, match="There is no fold 1 of ferplus: it has an official split and no folds: take 0"):
        run(Parameters(profile="smoke", out=str(tmp_path), dataset="ferplus", data="x.zip", fold=1))
    assert Parameters(fold=3).name == "R0-faces-quick-fold3-seed0"


def test_a_process_that_is_killed_continues_bit_for_bit(tmp_path):
    """SIGKILL after the first epoch; the second start ends with the weights of an unharmed run."""
    command = [sys.executable, "-m", "fer_lib", "run", "baseline", "--profile", "smoke"]
    command += [x for change in [*SMALL.split(), "epochs=3"] for x in ("--set", change)]
    env = {**os.environ, "PYTHONUNBUFFERED": "1"}
    killed = subprocess.Popen([*command, "--out", str(tmp_path / "a")], stdout=subprocess.PIPE, text=True, env=env)
    assert killed.stdout.readline().startswith("epoch   1/3")
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert not list((tmp_path / "a").rglob("*.json"))
    again = subprocess.run([*command, "--out", str(tmp_path / "a")], capture_output=True, text=True, env=env, check=True)
    assert again.stdout.startswith("continuing after epoch ")
    whole = Parameters(profile="smoke", out=str(tmp_path / "b"), overrides=f"{SMALL} epochs=3")
    path = run(whole, log=lambda line: None).path
    a = load_file(tmp_path / "a" / "baseline" / path.with_suffix(".safetensors").name)
    b = load_file(path.with_suffix(".safetensors"))
    assert all(torch.equal(a[name], b[name]) for name in b)


def test_parameters_are_layered_profile_row_override():
    recipe, _ = Parameters(row="R2", overrides="lr=0.3 smoothing=0.2").resolve()
    assert (recipe.lr, recipe.smoothing, recipe.target) == (0.3, 0.2, "smooth")
    assert Parameters(method="clcl", row="B4", overrides="clbs=0.5").resolve()[1].clbs == 0.5
    assert recipe.epochs == PROFILES["quick"].epochs
    assert Parameters(row="R1").resolve()[0].augment == 0
    large = Parameters(method="sr_fer", row="S5", dataset="facial_expressions", profile="laptop")
    for run_ in (large, *large.recognizers().values()):
        assert (run_.resolve()[0].size, run_.resolve()[0].stem_stride, run_.resolve()[0].sampler) == (128, 4, "balanced")
    assert Parameters(dataset="ferplus", profile="laptop").resolve()[0].size == PROFILES["laptop"].size == 48
    assert Parameters(dataset="facial_expressions", profile="laptop", overrides="size=64").resolve()[0].size == 64
    assert Parameters(method="ll_fer", row="A4").resolve()[0].train_images < PROFILES["quick"].train_images
    assert Parameters(method="ll_fer", row="A4", overrides="train_images=9").resolve()[0].train_images == 9


@pytest.mark.parametrize(
    "changes, sentence",
    [
        (dict(overrides="epoch=3"), "There is no parameter 'epoch': did you mean 'epochs'"),
        (dict(overrides="epochs"), "Override 'epochs' has no value"),
        (dict(overrides="epochs=many"), "Parameter epochs cannot be 'many'"),
        (dict(overrides="epochs=0"), "Parameter epochs cannot be '0': input should be greater than or equal to 1"),
        (dict(overrides="smoothing=1"), "Parameter smoothing cannot be '1': input should be less than 1"),
        (dict(overrides="target=vote"), "Parameter target cannot be 'vote': input should be 'hard', 'smooth' or 'votes'"),
        (dict(method="clcl", row="B4", overrides="clbs=much"), "Parameter clbs cannot be 'much': it takes a float"),
        (dict(row="R9"), "baseline has no row 'R9': choose one of R0, R1"),
        (dict(method="base"), "There is no method 'base': choose one of baseline"),
        (dict(dataset="ferpluss"), "There is no dataset 'ferpluss': did you mean ferplus"),
        (dict(data="x.zip"), "The faces are drawn and need no data: leave data empty"),
        (dict(dataset="ferplus"), "Dataset ferplus needs its path: give data"),
        (dict(device="gpu9"), "Device 'gpu9' is not on this machine"),
        (dict(row="R3"), "baseline row R3 needs votes, which faces does not have"),
    ],
)
def test_bad_parameters_in_one_sentence(changes, sentence, tmp_path):
    with pytest.raises(FerError, match=sentence.replace("(", "\\(")):
        run(Parameters(profile="smoke", out=str(tmp_path), **changes))
    assert not list(tmp_path.iterdir())


def test_a_notebooks_globals():
    scalars = {"seed": 4, "profile": "smoke", "__name__": "__main__", "In": ["x"], "path": tuple()}
    assert Parameters.of(scalars, row="R1") == Parameters(seed=4, profile="smoke", row="R1")
    with pytest.raises(FerError, match="There is no parameter 'sed': did you mean 'seed'"):
        Parameters.of({"seed": 4, "sed": 1})
    with pytest.raises(FerError, match="Parameter seed cannot be 'one': input should be a valid integer"):
        Parameters.of({"seed": "one"})
    with pytest.raises(FerError, match="Parameter profile cannot be 'fast': input should be 'smoke', 'page', 'quick'"):
        Parameters.of({"profile": "fast"})


def test_names_are_checked_once_per_kernel():
    namespace = {"seed": 4}
    assert Parameters.of(namespace).seed == 4
    namespace |= {"n": 3, "seed": 5}  # the chapter ran on, and the reader runs its first cells again
    assert Parameters.of(namespace).seed == 5


@pytest.mark.parametrize("wrong", [{"seed": None}, {"seed": [1]}, {"profile": ["smoke"]}])
def test_a_value_of_the_wrong_kind_is_never_ignored(wrong):
    with pytest.raises(FerError, match=f"Parameter {next(iter(wrong))} cannot be"):
        Parameters.of(wrong)


def test_a_run_that_departs_from_its_row_has_another_name():
    assert Parameters(row="R1").name == "R1-faces-quick-seed0"
    assert Parameters(overrides="lr=0.1 ema=0.9", split="val").name == "R0-faces-quick-val-lr=0.1-ema=0.9-seed0"


def test_papermill_writes_a_notebook_and_stops_at_an_unknown_name(tmp_path):
    def papermill(*parameters):
        words = [x for name, value in parameters for x in ("-p", name, value)]
        command = [sys.executable, "-m", "papermill", "book/faces.ipynb", str(tmp_path / "out.ipynb"), *words]
        return subprocess.run([*command, "--no-progress-bar"], cwd=ROOT, capture_output=True, text=True)

    result = papermill(("profile", "smoke"), ("sed", "1"))
    assert result.returncode != 0 and "There is no parameter 'sed': did you mean 'seed'?" in result.stderr
    result = papermill(("profile", "smoke"), ("seed", "1"))
    assert result.returncode == 0, result.stderr
    assert "image/jpeg" in (tmp_path / "out.ipynb").read_text()


def test_command_line(capsys, tmp_path):
    assert main(["run", "baseline", "--row", "R9", "--out", str(tmp_path)]) == 2
    assert capsys.readouterr().err == "fer_lib: baseline has no row 'R9': choose one of R0, R1, R2, R3, R4, R5, R6.\n"
    assert main(["data", "check", "ferplus", str(tmp_path / "none")]) != 0
    assert str(tmp_path / "none") in "".join(capsys.readouterr())
    with pytest.raises(SystemExit):
        main(["walk"])


@pytest.mark.parametrize("method, row", [("ll_fer", "A7-B4"), ("sr_fer", "S5-N4")])
def test_a_cascade_begins_with_another_recognizer(tmp_path, method, row):
    """Trained once, taken over whole, kept as the reference, tuned; and its method's code decides the record, too."""
    parameters = Parameters(method=method, row=row, profile="smoke", out=str(tmp_path), overrides="train_images=16 val_images=16 test_images=16 size=32 epochs=2")
    start = parameters.recognizers()["start"]
    assert (start.method, start.row, start.seed) == (owner(row[-2:]), row[-2:], 0)
    result = run(parameters, log=lambda line: None, judge=False)
    taken, weights = result.method.reference.state_dict(), load_file(next((tmp_path / start.method).glob("*.safetensors")))
    assert taken.keys() == weights.keys() and all(torch.equal(taken[k], v) for k, v in weights.items())
    assert result.method.recognizer.name == start.method and result.record.parameters["recognizer"] == row[-2:]
    own = result.method.recognizer.state_dict()
    assert any(not torch.equal(own[k], v) for k, v in weights.items())
    assert result.record.sources == sources(method, "faces", row[-2:]) != sources(method, "faces")


def test_an_unknown_recognizer():
    with pytest.raises(FerError, match="There is no recognizer 'A7': name a row of baseline, clcl"):
        Parameters(method="ll_fer", row="A7", overrides="recognizer=A7").recognizers()
