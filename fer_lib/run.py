"""Parameters in, one record out: what the chapters, the command line and the sweeps all call."""

import json
import os
import resource
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from fer_lib.data import DATASETS, load_dataset
from fer_lib.data.degradation import Degradation
from fer_lib.data.faces import make_faces
from fer_lib.data.faceset import FaceSet
from fer_lib.data.loader import Augmentation, Loader
from fer_lib.errors import FerError
from fer_lib.evaluate import Scores, predict, score
from fer_lib.machine import commit, describe, versions
from fer_lib.methods import Method, find_method
from fer_lib.nets.backbone import Backbone
from fer_lib.parallel import join_processes, on_first, rank, world
from fer_lib.parameters import Parameters
from fer_lib.recipe import Recipe, mixed_precision, pick_device
from fer_lib.record import LIBRARY, RESULTS, Chosen, Record, read_record, record_path, sources, write_record
from fer_lib.train import Fitted, fit

RUNS = LIBRARY.parent / "runs"
WEIGHTS = LIBRARY.parent / "book" / "weights"
EVALUATED_AT_ONCE = 64
ENOUGH_FACES = {"train": 20_000, "val": 2_000, "test": 2_000}


@dataclass
class Run:
    """A finished run: its record and where it lies, and what a chapter looks at live.

    ``method`` holds the last epoch's weights; ``logits`` (N, K) are its predictions
    for ``faces``, the split that was measured.

    Explained in: book/baseline.ipynb
    """

    record: Record
    path: Path
    method: Method
    faces: FaceSet
    logits: Tensor
    loader: Loader


def run(parameters: Parameters, log=print, judge: bool = True) -> Run:
    """Load or generate, train, evaluate, and write one record and the weights.

    A killed run, called again, continues after its last whole epoch. Started by ``torchrun``, all
    processes call this; they train as one, and the first alone writes and logs.

    Args:
        judge: whether a method that has a judge is measured with it: a baseline that took no part in its training.

    Raises:
        FerError: if a parameter, the data or the training is at fault.

    Explained in: book/baseline.ipynb
    """
    recipe, switches = parameters.resolve()
    join_processes(parameters.device)
    log = log if rank() == 0 else _silent
    device = pick_device(parameters.device)
    torch.manual_seed(parameters.seed)
    kind = find_method(parameters.method)
    split = parameters.split or ("test" if parameters.dataset == "faces" else "val")
    needs = parameters.needs()
    sets = {s: load_faces(parameters, recipe, s, needs, device) for s in dict.fromkeys(("train", "val", split))}
    backbone = Backbone(recipe.backbone, recipe.stem_stride, recipe.weights, recipe.size)
    method = kind(switches, backbone, sets["train"].classes).to(device, memory_format=torch.channels_last)
    needed = parameters.recognizers()
    if "start" in needed:
        method.start(_recognizer(needed["start"], sets["train"].classes, log))
    amounts = Augmentation().scaled(recipe.augment) if recipe.augment else None
    spoil = Degradation.of(recipe.degrade)
    train = Loader(
        sets["train"], recipe.batch_size, device, recipe.size, amounts, recipe.sampler, parameters.seed, spoil,
        target=recipe.target, smoothing=recipe.smoothing,
    )  # fmt: skip
    tests = {s: Loader(sets[s], EVALUATED_AT_ONCE, device, recipe.size, degrade=spoil) for s in ("val", split)}
    path = _path(parameters)
    made_by = sources(parameters.method, parameters.dataset, getattr(switches, "recognizer", ""))
    fitted = fit(
        method, train, tests["val"], recipe, parameters.seed, path.with_suffix(".ckpt"), f"{switches} {made_by}", log
    )
    logits, labels = predict(method, tests[split])
    last = _score(logits, labels, sets[split])
    chosen = _score(*_predict_chosen(method, fitted, tests[split]), sets[split])
    record = Record(
        **parameters.model_dump(include={"method", "row", "dataset", "profile", "fold", "seed"}),
        split=split,
        alignment=DATASETS[parameters.dataset].alignment if parameters.data else "as drawn",
        parameters=parameters.meant(),
        fingerprint={s: faces.fingerprint for s, faces in sets.items()},
        metrics=last.values,
        intervals=last.intervals,
        confusion=last.confusion,
        chosen=Chosen(epoch=fitted.history.chosen, metrics=chosen.values, intervals=chosen.intervals),
        labels="".join(map(str, labels.tolist())),
        predicted="".join(map(str, logits.argmax(1).tolist())),
        history=fitted.history.epochs,
        mechanism=method.mechanism(tests[split], _recognizer(needed["judge"], sets["train"].classes, log) if judge and "judge" in needed else None),
        cost=_cost(fitted, train, method, device),
        device=describe(device, mixed_precision(recipe, device)) + (f", {world()} processes" if world() > 1 else ""),
        versions=versions(),
        sources=made_by,
        commit=commit(),
        finished=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    on_first(_write, record, path, method)
    accuracy, recall = (100 * last.values[name] for name in ("accuracy", "macro_recall"))
    log(f"{split}: accuracy {accuracy:.1f} %, macro recall {recall:.1f} %; record {os.path.relpath(path)}")
    return Run(record, path, method, sets[split], logits, tests[split])


def recognizer_weights(parameters: Parameters, log=print) -> Path:
    """The weights file of a recognizer's run (:meth:`Parameters.recognizers`); trained first where there is none.

    Taken are the weights beside a valid record in the run's folder, else those that come with the
    book (``book/weights``), if their record is valid.

    Raises:
        FerError: as :func:`run`.

    Explained in: book/baseline.ipynb
    """
    if trained := on_first(_trained, parameters):
        return trained
    log(f"first a recognizer that is needed: {parameters.method} {parameters.name}")
    return run(parameters, log).path.with_suffix(".safetensors")


def load_faces(
    parameters: Parameters, recipe: Recipe, split: str, needs: frozenset[str] = frozenset(), device="cpu"
) -> FaceSet:
    """The faces of one split, in the number that the recipe asks for.

    Raises:
        FerError: if the dataset is unknown, its path is missing, or it lacks what the method or its target needs.

    Explained in: book/baseline.ipynb
    """
    count = getattr(recipe, f"{split}_images")
    if parameters.dataset == "faces":
        if parameters.fold:
            raise FerError(f"faces has new people in every split and no folds: fold must be 0, not {parameters.fold}.")
        options = {} if recipe.difficulty < 0 else {"difficulty": recipe.difficulty}
        count = count or ENOUGH_FACES[split]
        faces = make_faces(count, split, size=recipe.size, neutral="neutral" in needs, device=device, **options)
    elif parameters.dataset in DATASETS and not parameters.data:
        raise FerError(f"Dataset {parameters.dataset} needs its path: give data (--data PATH).")
    else:
        faces = load_dataset(parameters.dataset, parameters.data, split, parameters.fold)
        if 0 < count < len(faces):
            some = torch.randperm(len(faces), generator=torch.Generator().manual_seed(0))[:count]
            faces = faces.subset(some.sort().values)
    for name in needs:
        if getattr(faces, name) is None:
            raise FerError(f"{parameters.method} row {parameters.row} needs {name}, which {faces.name} does not have.")
    return faces


def _trained(parameters: Parameters) -> Path | None:
    """The weights file beside the run's valid record, where there is one."""
    own, method = _path(parameters), parameters.method
    given = (record_path(RESULTS, method, parameters.name), WEIGHTS / f"{method}-{parameters.name}.safetensors")
    for record, weights in ((own, own.with_suffix(".safetensors")), given):
        if record.is_file() and weights.is_file() and _valid(read_record(record), parameters):
            return weights
    return None


def _valid(record: Record, parameters: Parameters) -> bool:
    """Whether the record is of these sources, parameters and faces; the sources say how faces are drawn."""
    if record.stale() or record.parameters != parameters.meant():
        return False
    recipe, _ = parameters.resolve()
    seen = {} if parameters.dataset == "faces" else record.fingerprint
    return all(load_faces(parameters, recipe, split).fingerprint == known for split, known in seen.items())


def _recognizer(parameters: Parameters, classes: int, log) -> Method:
    """The trained recognizer of a run, in evaluation mode."""
    weights = on_first(load_file, recognizer_weights(parameters, log))
    recipe, switches = parameters.resolve()
    with torch.random.fork_rng(devices=[]):  # the first weights are thrown away: they shall cost nobody a draw
        backbone = Backbone(recipe.backbone, recipe.stem_stride, size=recipe.size)
        trained = find_method(parameters.method)(switches, backbone, classes)
    trained.load_state_dict(weights)
    return trained.to(pick_device(parameters.device), memory_format=torch.channels_last).eval()


def _write(record: Record, path: Path, method: Method) -> None:
    """The weights, with what they are of, then the record; then the checkpoint is no longer needed.

    Raises:
        FerError: if a file cannot be written; the checkpoint then stays.
    """
    about = record.model_dump(include={"method", "row", "dataset", "profile", "seed", "parameters"})
    said = {"run": json.dumps(about | {"classes": len(record.confusion)})}
    weights, part = path.with_suffix(".safetensors"), path.with_suffix(".part")
    try:
        save_file({k: v.contiguous() for k, v in method.state_dict().items()}, part, said)
        os.replace(part, weights)
    except (OSError, SafetensorError) as error:
        part.unlink(missing_ok=True)
        raise FerError(f"Weights {weights} could not be written ({error}): free some space and start again.") from error
    write_record(record, path)
    path.with_suffix(".ckpt").unlink(missing_ok=True)


def _silent(line: str) -> None:
    """What the other processes log."""


def _path(parameters: Parameters) -> Path:
    """Where the run's record goes; its weights and checkpoint lie beside it."""
    return record_path(Path(parameters.out) if parameters.out else RUNS, parameters.method, parameters.name)


def _score(logits: Tensor, labels: Tensor, faces: FaceSet) -> Scores:
    """All metrics, and accuracy and macro recall on the faces with a clear majority, where that is known."""
    scores = score(logits, labels)
    if faces.clear is not None and faces.clear.any():
        clear = score(logits[faces.clear], labels[faces.clear])
        for name in ("accuracy", "macro_recall"):
            scores.values[f"{name}_clear"] = clear.values[name]
            scores.intervals[f"{name}_clear"] = clear.intervals[name]
    return scores


def _predict_chosen(method: Method, fitted: Fitted, loader: Loader) -> tuple[Tensor, Tensor]:
    last = {k: v.clone() for k, v in method.state_dict().items()}
    method.load_state_dict(fitted.chosen)
    result = predict(method, loader)
    method.load_state_dict(last)
    return result


def _cost(fitted: Fitted, train: Loader, method: Method, device: torch.device) -> dict[str, float]:
    seconds = fitted.history.seconds
    images = len(fitted.history.epochs) * min(len(train) * train.batch_size, len(train.faces))
    if device.type == "cuda":
        peak = torch.cuda.max_memory_allocated(device) / 2**20
    else:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
    return {
        "seconds": round(seconds, 2),
        "images_per_second": round(images / seconds, 1),
        "peak_memory_mb": round(peak),
        "parameters": sum(p.numel() for p in method.parameters()),
    }
