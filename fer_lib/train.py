"""One training loop for every method of the book; it knows nothing of any paper."""

import os
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from fer_lib.data.loader import Loader
from fer_lib.errors import FerError
from fer_lib.evaluate import predict
from fer_lib.methods.method import Method, Player, Stage
from fer_lib.parallel import on_first, rank, share, split_batches, sum_gradients
from fer_lib.recipe import Recipe, mixed_precision, warm_cosine
from fer_lib.watch import Watch


@dataclass
class History:
    """What happened in training: one dictionary per epoch, and which epoch validation chose.

    Each epoch has ``epoch`` (from 1), ``stage``, ``lr``, ``val_accuracy``, ``seconds``
    and the mean of every loss term under ``<player>/<term>``.

    Explained in: book/baseline.ipynb
    """

    epochs: list[dict[str, Any]] = field(default_factory=list)
    chosen: int = 0

    @property
    def seconds(self) -> float:
        """Training time of all epochs, without the validation passes."""
        return sum(epoch["seconds"] for epoch in self.epochs)


@dataclass
class Fitted:
    """The outcome of :func:`fit`: the method holds the last epoch's weights.

    ``chosen`` is the state dict of the epoch with the best validation accuracy.

    Explained in: book/baseline.ipynb
    """

    history: History
    chosen: dict[str, Tensor]


def fit(
    method: Method,
    train: Loader,
    val: Loader,
    recipe: Recipe,
    seed: int = 0,
    checkpoint: Path | None = None,
    key: str = "",
    log=print,
) -> Fitted:
    """Train ``method``; a killed run continues from ``checkpoint`` to the same weights.

    One progress line an epoch goes to ``log``, and a bar to the terminal where
    there is one. The checkpoint is written after every epoch, whole or not at all.
    Several processes train as one; all call this, and the first alone writes (:mod:`fer_lib.parallel`).

    Args:
        method: on its device; trained in place and left with the last epoch's weights
            (the averaged ones, if the recipe averages).
        train, val: batches to learn from and to choose by.
        seed: of everything random in an epoch.
        checkpoint: file to continue from and to write; ``None`` keeps nothing.
        key: what else makes the run this run (switches, sources): another key's checkpoint is put aside.

    Raises:
        FerError: if a loss is not a number (the sentence names the term), if the checkpoint
            cannot be written or put aside, or if the processes are not of one run.

    Explained in: book/baseline.ipynb
    """
    method.load_state_dict(on_first(lambda: {k: v.cpu() for k, v in method.state_dict().items()}))
    training = _Training(method, train, recipe, seed)
    training.key = " ".join([method.name, str(seed), train.faces.fingerprint, val.faces.fingerprint, str(recipe), key])
    if on_first(lambda: training.key) != training.key:
        raise FerError(f"Process {rank()} does not train what process 0 trains: give both the same code, data and parameters.")
    if checkpoint and on_first(checkpoint.is_file):
        log(training.load(checkpoint))
    for number in range(len(training.history.epochs), recipe.epochs):
        if training.gave_up():
            log(f"stopped: no better epoch in {recipe.patience}")
            break
        epoch = training.epoch(number)
        logits, labels = predict(training.reported, val)
        epoch["val_accuracy"] = on_first((logits.argmax(1) == labels).float().mean().item)
        training.note(epoch)
        if checkpoint:
            on_first(training.save, checkpoint)
        log(_line(epoch, recipe.epochs))
    method.load_state_dict(training.reported.state_dict())
    return Fitted(training.history, training.chosen)


class _Training:
    """The state of a run between two epochs: all of it, and nothing else, is in the checkpoint."""

    def __init__(self, method: Method, train: Loader, recipe: Recipe, seed: int):
        self.method, self.train, self.recipe, self.seed = method, train, recipe, seed
        self.stages = _spread(method.stages(), recipe.epochs)
        self.history, self.key = History(), ""
        self.chosen: dict[str, Tensor] = {}
        self.stage: Stage | None = None
        self.averaged = None
        if recipe.ema:
            self.averaged = AveragedModel(method, multi_avg_fn=get_ema_multi_avg_fn(recipe.ema), use_buffers=True)

    @property
    def reported(self) -> nn.Module:
        return self.averaged.module if self.averaged else self.method

    def epoch(self, number: int) -> dict[str, Any]:
        """One pass over the training set; the means of its loss terms."""
        stage, within, length = self.stages[number]
        if stage != self.stage:
            self._enter(stage, length)
        torch.manual_seed(self.seed * 100_003 + number)
        self.method.progress = within / length
        self.method.eval()
        for player in stage.players:
            for name in player.modules:
                self.method.get_submodule(name).train()
        device, watch = self.train.device, Watch()
        amp = torch.autocast(device.type, torch.bfloat16, enabled=mixed_precision(self.recipe, device))
        started = time.perf_counter()
        bar = tqdm(self.train.epoch(number), f"epoch {number + 1}", len(self.train), leave=False, disable=_quiet())
        with split_batches():
            for batch in bar if stage.players else ():
                part = share(batch.label)
                for player in stage.players:
                    with amp:
                        terms = self.method.losses(batch, stage.name, player.name)
                    watch.see(player.name, terms, part)
                    self._step(player, part * sum(term.weight * term.value.float() for term in terms.values()))
                if self.averaged:
                    self.averaged.update_parameters(self.method)
        means = watch.means(f"epoch {number + 1}")
        lr = max((o.param_groups[0]["lr"] for o in self.optimizers.values()), default=0.0)
        seconds = time.perf_counter() - started
        return {"epoch": number + 1, "stage": stage.name, "lr": lr, "seconds": seconds, **means}

    def note(self, epoch: dict[str, Any]) -> None:
        """Keep the epoch, and its weights if validation likes none before it better."""
        best = max((e["val_accuracy"] for e in self.history.epochs), default=-1.0)
        self.history.epochs.append(epoch)
        if epoch["val_accuracy"] > best:
            self.history.chosen = epoch["epoch"]
            self.chosen = {k: v.detach().clone() for k, v in self.reported.state_dict().items()}

    def gave_up(self) -> bool:
        """Whether validation has waited for a better epoch as long as the recipe's patience."""
        waited = len(self.history.epochs) - self.history.chosen
        return 0 < self.recipe.patience <= waited

    def save(self, path: Path) -> None:
        state = {
            "key": self.key,
            "method": self.method.state_dict(),
            "averaged": self.averaged.state_dict() if self.averaged else None,
            "optimizers": {name: o.state_dict() for name, o in self.optimizers.items()},
            "schedules": {name: s.state_dict() for name, s in self.schedules.items()},
            "stage": self.stage.name,
            "epochs": self.history.epochs,
            "chosen_epoch": self.history.chosen,
            "chosen": self.chosen,
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        try:
            torch.save(state, part)
            os.replace(part, path)
        except (OSError, RuntimeError) as error:
            part.unlink(missing_ok=True)
            raise FerError(f"Checkpoint {path} could not be written ({error}): free some space and start again.") from error

    def load(self, path: Path) -> str:
        """Continue from ``path``; if it is not this run's, put it aside. What was done, for the log."""
        state = on_first(lambda: self._read(path))
        if state is None:
            return f"Checkpoint {path.name} is damaged, or of other code or parameters: kept as {path.name}.old, beginning anew"
        self.method.load_state_dict(state["method"])
        self.history = History(state["epochs"], state["chosen_epoch"])
        self.chosen = state["chosen"]
        if self.averaged:
            self.averaged.load_state_dict(state["averaged"])
        stage, _, length = self.stages[len(self.history.epochs) - 1]
        self._enter(stage, length)
        for name, optimizer in self.optimizers.items():
            optimizer.load_state_dict(state["optimizers"][name])
            self.schedules[name].load_state_dict(state["schedules"][name])
        return f"continuing after epoch {len(self.history.epochs)}"

    def _read(self, path: Path) -> dict[str, Any] | None:
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
        except Exception:  # whatever a damaged file makes of it
            state = {}
        if state.get("key") == self.key:
            return state
        try:
            os.replace(path, f"{path}.old")
        except OSError as error:
            raise FerError(f"Checkpoint {path} is not of this run and cannot be put aside ({error}): delete it.") from error
        return None

    def _enter(self, stage: Stage, length: int) -> None:
        """New optimizers and schedules, one of each for every player of the stage."""
        self.stage = stage
        self.weights = {player.name: self._weights(player) for player in stage.players}
        self.optimizers = {player.name: self._optimizer(player) for player in stage.players}
        steps, warm = length * len(self.train), round(self.recipe.warmup * len(self.train))
        self.schedules = {
            name: torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: warm_cosine(step, steps, warm))
            for name, optimizer in self.optimizers.items()
        }

    def _weights(self, player: Player) -> list[tuple[nn.Parameter, Tensor]]:
        """What a player trains: each parameter, and the same numbers as the optimizer sees them."""
        parameters = (p for name in player.modules for p in self.method.get_submodule(name).parameters())
        return [(p, _as_stored(p, p)) for p in parameters]

    def _optimizer(self, player: Player) -> torch.optim.Optimizer:
        weights, lr = [stored for _, stored in self.weights[player.name]], self.recipe.lr * player.lr
        groups = [
            {"params": [w for w in weights if w.ndim > 1], "weight_decay": self.recipe.weight_decay},
            {"params": [w for w in weights if w.ndim <= 1], "weight_decay": 0.0},
        ]
        if self.recipe.optimizer == "adamw":
            return torch.optim.AdamW(groups, lr=lr, fused=True)
        return torch.optim.SGD(groups, lr=lr, momentum=0.9, nesterov=True, fused=True)

    def _step(self, player: Player, loss: Tensor) -> None:
        weights, optimizer = self.weights[player.name], self.optimizers[player.name]
        parameters = [parameter for parameter, _ in weights]
        for tensor in (part for pair in weights for part in pair):
            tensor.grad = None
        loss.backward(inputs=parameters)
        sum_gradients(parameters)
        if self.recipe.clip:
            nn.utils.clip_grad_norm_(parameters, self.recipe.clip)
        for parameter, stored in weights:
            stored.grad = None if parameter.grad is None else _as_stored(parameter.grad, parameter)
        optimizer.step()
        self.schedules[player.name].step()


def _as_stored(x: Tensor, parameter: nn.Parameter) -> Tensor:
    """``x`` in the order in which ``parameter`` lies in memory: fused optimizers copy what is not contiguous."""
    moved = parameter.ndim == 4 and not parameter.is_contiguous()
    return x.detach().permute(0, 2, 3, 1) if moved else x.detach()


def _spread(stages: tuple[Stage, ...], epochs: int) -> list[tuple[Stage, int, int]]:
    """For every epoch: its stage, its number within it, the stage's length. Each stage has one at least."""
    if epochs < len(stages):
        raise FerError(f"{len(stages)} stages of training need at least {len(stages)} epochs, not {epochs}.")
    total, plan, begun = sum(s.share for s in stages), [], 0.0
    for k, stage in enumerate(stages):
        begun += stage.share
        end = min(max(round(epochs * begun / total), len(plan) + 1), epochs - (len(stages) - 1 - k))
        length = end - len(plan)
        plan += [(stage, i, length) for i in range(length)]
    return plan


def _line(epoch: dict[str, Any], epochs: int) -> str:
    terms = [k for k in epoch if "/" in k]
    alone = len({k.split("/")[0] for k in terms}) == 1
    losses = "  ".join(f"{k.split('/')[1] if alone else k} {epoch[k]:.3f}" for k in terms)
    return (
        f"epoch {epoch['epoch']:>3}/{epochs}  {losses}  validation {100 * epoch['val_accuracy']:.1f} %  "
        f"{epoch['seconds']:.1f} s"
    )


def _quiet() -> bool:
    return rank() > 0 or not sys.stderr.isatty()
