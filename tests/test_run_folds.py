"""A run on one fold of people: who is measured, who is trained on, and what the record says of it."""

from pathlib import Path

import pytest

from fer_lib import run as module
from fer_lib.data.loader import Loader
from fer_lib.parameters import Parameters
from fer_lib.record import read_record

SMALL = "size=32 batch_size=8 epochs=1"


@pytest.fixture
def loaders(monkeypatch):
    """Every Loader that a run makes, in order."""
    made = []

    class Seen(Loader):
        def __init__(self, *args, **options):
            super().__init__(*args, **options)
            made.append(self)

    monkeypatch.setattr(module, "Loader", Seen)
    return made


def test_a_run_on_a_fold_measures_its_people_and_trains_on_others(tmp_path, monkeypatch, loaders):
    monkeypatch.setenv("FER_LIB_CACHE", str(tmp_path / "cache"))
    monkeypatch.syspath_prepend(Path(__file__).parent / "data")
    from made_up import write
    from made_up_pairs import london

    options = {"dataset": "london", "data": str(write(tmp_path / "tree", london()[0])), "fold": 3, "split": "test"}
    parameters = Parameters(profile="smoke", out=str(tmp_path), overrides=f"{SMALL} sampler=balanced", **options)
    result = module.run(parameters, log=lambda line: None)
    record = result.record
    assert (record.dataset, record.fold, record.split) == ("london", 3, "test")
    assert record.alignment == "eyes-1" and record.parameters["sampler"] == "balanced"
    assert read_record(result.path) == record and "-fold3-" in result.path.name
    train, val, test = (loader.faces for loader in loaders)
    assert (train.split, val.split, test.split) == ("train", "val", "test") and test is result.faces
    assert [loader.sampler for loader in loaders] == ["balanced", "listed", "listed"]
    # The people 001 to 012, counted from 0; 007 is dealt to fold 3, 001 to fold 4, which validates.
    fold_3, fold_4 = {6}, {0}
    people = [set(faces.subjects.tolist()) for faces in (test, val, train)]
    assert people == [fold_3, fold_4, set(range(12)) - fold_3 - fold_4]
    assert record.fingerprint == {"train": train.fingerprint, "val": val.fingerprint, "test": test.fingerprint}


def test_a_run_shuffles_where_nothing_else_is_asked_for_and_procedural_faces_are_as_drawn(tmp_path, loaders):
    overrides = f"{SMALL} train_images=16 val_images=8 test_images=8"
    record = module.run(Parameters(profile="smoke", out=str(tmp_path), overrides=overrides), log=lambda line: None).record
    assert record.alignment == "as drawn" and record.fold == 0 and record.parameters["sampler"] == "shuffled"
    assert [loader.sampler for loader in loaders] == ["shuffled", "listed", "listed"]
