"""What ``test_parallel.py`` computes in one process and, started by ``torchrun``, in two: python parallel_cases.py FOLDER"""

import sys
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F

from fer_lib.data.faces import make_faces
from fer_lib.data.loader import Augmentation, Loader
from fer_lib.errors import FerError
from fer_lib.methods import find_method
from fer_lib.methods.cascade import gradient_balance
from fer_lib.nets.backbone import Backbone
from fer_lib.parallel import gather, join_processes, on_first, own_part, rank, split_batches, sum_gradients
from fer_lib.parameters import Parameters
from fer_lib.recipe import Recipe
from fer_lib.run import run
from fer_lib.train import fit

# 15 faces to a batch: of two processes one gets 7, the other 8.
TINY = Recipe(
    backbone="resnet10_narrow", stem_stride=2, size=32, epochs=2, batch_size=15, ema=0.9, precision="fp32",
    optimizer="sgd", lr=0.02,
)  # fmt: skip
SHORT = TINY.model_copy(update={"epochs": 1})
ADAMW = SHORT.model_copy(update={"optimizer": "adamw", "lr": 0.002})
SMALL = "train_images=30 val_images=16 test_images=16 size=32 batch_size=15 optimizer=sgd lr=0.01 precision=fp32"


def trained(folder: Path, method: str = "baseline", recipe: Recipe = TINY, kill: bool = False, **switches):
    """The weights after a few steps on augmented faces; ``kill`` stops after the first epoch and starts again."""
    faces = {s: make_faces(n, s, size=32) for s, n in (("train", 33), ("val", 16))}
    train = Loader(faces["train"], recipe.batch_size, size=32, augment=Augmentation(), sampler="shuffled", seed=3, target=recipe.target)

    def fitted(seed: int, log, checkpoint: Path | None = None):
        torch.manual_seed(seed)
        kind = find_method(method)
        model = kind(kind.Switches(**switches), Backbone("resnet10_narrow", 2, size=32), 8)
        history = fit(model, train, Loader(faces["val"], 16), recipe, 5, checkpoint, log=log).history
        means = {k: torch.tensor(v) for k, v in history.epochs[-1].items() if "/" in k or k == "val_accuracy"}
        return {**model.state_dict(), **means}

    if not kill:
        return fitted(0, str)

    def killed(line: str) -> None:
        raise KeyboardInterrupt

    try:
        fitted(0, killed, folder / "run.ckpt")
    except KeyboardInterrupt:
        # Other weights: what counts is in the checkpoint.
        return fitted(99, str, folder / "run.ckpt")


def normed(folder: Path):
    """Batch norm in float64: outputs, running statistics, gradients."""
    torch.manual_seed(0)
    whole, weight, bias = torch.randn(7, 3, 4, 5) * 3 + 50, torch.rand(3) + 0.5, torch.randn(3)
    whole, weight, bias, slope = (x.double() for x in (whole, weight, bias, torch.randn(7, 3, 4, 5)))
    layer = torch.nn.BatchNorm2d(3).double()
    layer.weight.data, layer.bias.data = weight, bias
    with split_batches():
        x = whole[own_part(7)].clone().requires_grad_()
        y = layer(x)
        (y.sin() * slope[own_part(7)]).sum().backward()
        sum_gradients(layer.parameters())
        found = {"output": gather(y.detach()), "gradient": gather(x.grad)}
    gradients = {f"gradient_{name}": p.grad for name, p in layer.named_parameters()}
    return {**found, **gradients, **layer.state_dict()}


def balanced(folder: Path):
    """The weight of a guiding loss, of a batch whose slices differ."""
    images = torch.linspace(0, 1, 7 * 12).view(7, 3, 2, 2).square()
    with split_batches():
        own = images[own_part(7)].clone().requires_grad_()
        return {"balance": gradient_balance(own, F.l1_loss(own, 1 - own.detach()), own.pow(3).mean())}


def sliced(folder: Path):
    """Two epochs of training batches, put together again."""
    faces = make_faces(33, "train", size=32)
    loader = Loader(faces, 15, augment=Augmentation(), sampler="balanced", seed=3)
    with split_batches():
        batches = [gather(batch.image) for number in (0, 1) for batch in loader.epoch(number)]
        try:
            list(Loader(faces, 1).epoch())
            sentence = ""
        except FerError as error:
            sentence = str(error)
    return {"images": torch.cat(batches), "sentence": torch.tensor(list(sentence.encode()))}


def failed(folder: Path):
    """An error of the first process is met by all."""
    try:
        on_first(int, "many")
    except ValueError:
        return {"met": torch.tensor(1)}


def cascade(folder: Path):
    """A whole run with two stages, that needs two recognizers first: all that ``run`` leaves."""
    parameters = Parameters(method="sr_fer", row="S5", profile="smoke", out=str(folder / "runs"), overrides=SMALL)
    lines = []
    done = run(parameters, log=lines.append)
    return {**done.method.state_dict(), "lines": torch.tensor(len(lines)), "logits": done.logits}


CASES = {
    "baseline": partial(trained, kill=True),
    "adamw": partial(trained, recipe=ADAMW),
    "clcl": partial(trained, method="clcl", recipe=SHORT, batch_mean="running"),
    "lnl": partial(trained, method="lnl", recipe=SHORT.model_copy(update={"target": "smooth"})),
    "normed": normed,
    "balanced": balanced,
    "sliced": sliced,
    "failed": failed,
    "cascade": cascade,
}

if __name__ == "__main__":
    torch.set_num_threads(1)
    join_processes("cpu")
    place = Path(sys.argv[1])
    torch.save({name: case(place) for name, case in CASES.items()}, place / f"process{rank()}.pt")
