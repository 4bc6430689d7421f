"""What LL-FER and SR-FER share: a restorer that is trained through the recognizer which reads its images.

Both begin with a recognizer trained on clean faces. First the restorer learns to undo the
degradation; then, in the joint stage, the recognizer's wishes are added to its loss, each with
a weight that is set by the size of its gradient.
"""

from abc import abstractmethod
from copy import deepcopy
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fer_lib.data.degradation import Degradation
from fer_lib.data.degrade import upsample
from fer_lib.data.loader import Batch, Loader
from fer_lib.methods.baseline import Baseline
from fer_lib.methods.method import Method, Player, Prediction, Stage, Term
from fer_lib.nets.backbone import Backbone
from fer_lib.parallel import gather, share

READERS = ("frozen", "finetune", "retrain")


class Cascade(Method):
    """Degraded image -> restorer -> recognizer.

    A subclass gives the restorer, what its images are compared by (``reconstruction``) and
    what the recognizer asks of them (``guidance``). Its switches have ``joint`` (is there a
    joint stage), ``reader`` (``frozen``, ``finetune``: tuned slowly on restored images,
    ``retrain``: trained on them at full speed, batch-norm statistics, too), ``recognizer`` (row of the
    trained network that it begins with), ``pixel`` (weight of the reconstruction in the joint stage)
    and ``warmup`` (share of it over which the guidance grows).

    Args:
        switches: of the subclass.
        restorer: image (B, 3, h, w) -> image (B, 3, H, W), before it is cut to [0, 1].
        backbone: of the recognizer.
        classes: how many emotions.

    Explained in: book/ll_fer.ipynb
    """

    starts_from = judged_by = "R0"
    GUIDES: tuple[str, ...] = ()

    def __init__(self, switches: Any, restorer: nn.Module, backbone: Backbone, classes: int):
        super().__init__()
        self.switches, self.restorer = switches, restorer
        self.recognizer: Method = Baseline(Baseline.Switches(), backbone, classes)
        # The recognizer as it was on clean faces: what restored images are compared through.
        self.reference = deepcopy(self.recognizer).requires_grad_(False)
        self.register_buffer("balance", torch.zeros(len(self.GUIDES)))
        self.calibrated = False

    def start(self, trained: Method) -> None:
        self.recognizer, self.reference = trained, deepcopy(trained).requires_grad_(False)

    def stages(self) -> tuple[Stage, ...]:
        learns, plan = any(True for _ in self.restorer.parameters()), []
        restorer = Player("restorer", ("restorer",))
        reader = Player("recognizer", ("recognizer",), 1.0 if self.switches.reader == "retrain" else 0.05)
        if learns:
            plan.append(Stage("restore", (restorer,)))
        if self.switches.joint:
            tuned = (reader,) if self.switches.reader != "frozen" else ()
            plan.append(Stage("joint", (restorer._replace(lr=0.5), *tuned)))
        elif self.switches.reader != "frozen":
            plan.append(Stage("adapt", (reader,)))
        return tuple(plan) or (Stage("untrained", ()),)

    def forward(self, image: Tensor) -> Prediction:
        restored = self.restorer(image).clamp(0, 1)
        seen = self.recognizer(restored)
        return Prediction(seen.logits, seen.stages, {"restored": restored})

    def losses(self, batch: Batch, stage: str, player: str) -> dict[str, Term]:
        if self.switches.reader != "retrain":
            hold_statistics(self.recognizer)
        if player == "recognizer":
            with torch.no_grad():
                restored = self.restorer(batch.image).clamp(0, 1)
            return {"cross-entropy": Term(F.cross_entropy(self.recognizer(restored).logits.float(), batch.target))}
        clean = batch.image if batch.clean is None else batch.clean
        restored = self.restorer(batch.image).float()
        terms = self.reconstruction(restored, clean, batch.image)
        if stage != "joint":
            return terms
        scaled = {name: term._replace(weight=self.switches.pixel * term.weight) for name, term in terms.items()}
        return scaled | self._guided(restored, clean, batch, terms)

    @abstractmethod
    def reconstruction(self, restored: Tensor, clean: Tensor, image: Tensor) -> dict[str, Term]:
        """What is wrong with the restored images (B, 3, H, W), by their pixels: clean and degraded ones beside them."""

    @abstractmethod
    def guidance(self, restored: Tensor, clean: Tensor, batch: Batch) -> dict[str, tuple[Tensor, float]]:
        """What the recognizer asks for, by the names of ``GUIDES``: a value, and its share of the pixels' gradient."""

    def _guided(self, restored: Tensor, clean: Tensor, batch: Batch, pixel: dict[str, Term]) -> dict[str, Term]:
        asked = self.guidance(restored, clean, batch)
        if not self.calibrated and self.progress == 0:
            pull = sum(term.weight * term.value for term in pixel.values())
            for name, (value, share) in asked.items():
                self.balance[self.GUIDES.index(name)] = share * gradient_balance(restored, pull, value)
            self.calibrated = True
        ramp = min(1.0, self.progress / self.switches.warmup) if self.switches.warmup else 1.0
        return {name: Term(value, ramp * self.balance[self.GUIDES.index(name)]) for name, (value, _) in asked.items()}

    @torch.inference_mode()
    def mechanism(self, loader: Loader, judge: Method | None = None) -> dict[str, Any]:
        """PSNR, SSIM, distances that ``judge`` sees, all per image and then their mean; accuracy by degradation."""
        was_training = self.training
        self.eval()
        rows: dict[str, list[Tensor]] = {}
        # Small batches: each image is held in many versions at once.
        loader = Loader(loader.faces, 64, loader.device, loader.size, degrade=loader.degrade)
        for batch in loader.epoch():
            for name, values in self._compare(batch, judge).items():
                rows.setdefault(name, []).append(values.float().cpu())
        figures: dict[str, Any] = {name: torch.cat(values).mean().item() for name, values in rows.items()}
        figures["accuracy"] = {text or "none": self._accuracy(loader, text) for text in self.conditions(loader)}
        if self.GUIDES and self.switches.joint:
            figures["balance"] = dict(zip(self.GUIDES, self.balance.tolist(), strict=True))
        self.train(was_training)
        return figures

    @abstractmethod
    def conditions(self, loader: Loader) -> list[str]:
        """The degradations, as a recipe spells them, under which the accuracy is recorded; "" is none."""

    def _accuracy(self, loader: Loader, text: str) -> float:
        other = Loader(loader.faces, loader.batch_size, loader.device, loader.size, degrade=Degradation.of(text))
        hits = [(self(batch.image).logits.argmax(1) == batch.label).float() for batch in other.epoch()]
        return torch.cat(hits).mean().item()

    def _compare(self, batch: Batch, judge: Method | None) -> dict[str, Tensor]:
        from torchmetrics.functional.image import structural_similarity_index_measure

        clean = (batch.image if batch.clean is None else batch.clean).expand(-1, 3, -1, -1)
        degraded = batch.image.expand(-1, 3, -1, -1)
        if degraded.shape[-1] != clean.shape[-1]:
            degraded = upsample(degraded, clean.shape[-1])
        versions = {"degraded": degraded, "restored": self(batch.image).maps["restored"]}
        figures = {}
        for name, image in versions.items():
            figures[f"psnr_{name}"] = psnr(image, clean)
            figures[f"ssim_{name}"] = structural_similarity_index_measure(image, clean, data_range=1.0, reduction="none")
            if batch.mask is not None:
                inside = (batch.mask > 0.5).float()
                figures[f"psnr_gap_{name}"] = psnr(image, clean, inside) - psnr(image, clean, 1 - inside)
            if judge is not None:
                figures |= {f"{key}_{name}": value for key, value in _seen_by(judge, image, clean).items()}
        return figures


def hold_statistics(network: nn.Module) -> None:
    """Batch norm keeps the statistics it has, though the network is in training mode; its weights may learn.

    Explained in: book/ll_fer.ipynb
    """
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()


def psnr(image: Tensor, clean: Tensor, where: Tensor | None = None) -> Tensor:
    r"""Peak signal-to-noise ratio of each image, :math:`-10\log_{10}\mathrm{MSE}` in dB, at most 80.

    Args:
        image, clean: (B, C, H, W) in [0, 1].
        where: (B, 1, H, W), 1 where pixels count; ``None`` counts all.

    Returns:
        float32 (B,).

    Explained in: book/ll_fer.ipynb
    """
    from torchmetrics.functional.image import peak_signal_noise_ratio

    if where is None:
        values = peak_signal_noise_ratio(image, clean, data_range=1.0, reduction="none", dim=(1, 2, 3))
        return values.clamp(max=80.0)
    error = ((image - clean).square().mean(1, keepdim=True) * where).sum((1, 2, 3)) / where.sum((1, 2, 3)).clamp(min=1)
    return -10 * error.clamp(min=1e-8).log10()


def gradient_balance(image: Tensor, main: Tensor, other: Tensor) -> Tensor:
    r"""The weight at which ``other`` pulls at the image as hard as ``main``: :math:`\|\partial_x m\| / \|\partial_x o\|`.

    Args:
        image: (B, C, H, W), of which both scalars are functions.

    Returns:
        A scalar without gradient; 0 where ``other`` does not pull at all. Of a batch that is split over processes,
        both are means over the slice, and the pulls are those of the whole batch.

    Explained in: book/ll_fer.ipynb
    """
    part = share(image)
    slopes = [torch.autograd.grad(part * value, image, retain_graph=True)[0] for value in (main, other)]
    pulls = [gather(slope).norm() for slope in slopes]
    return torch.where(pulls[1] > 0, pulls[0] / pulls[1].clamp(min=1e-20), torch.zeros_like(pulls[0]))


def feature_distances(stages: list[Tensor], others: list[Tensor]) -> list[Tensor]:
    r"""For each stage, :math:`\|\bar f(x)-\bar f(y)\|_2^2` with each place's channels divided by their norm; (B,) each.

    Explained in: book/ll_fer.ipynb
    """
    return [
        (F.normalize(a.float(), dim=1) - F.normalize(b.float(), dim=1)).square().sum(1).mean((1, 2))
        for a, b in zip(stages, others, strict=True)
    ]


def energy_map(stage: Tensor) -> Tensor:
    r"""Where a stage is active [zagoruyko2017paying]: :math:`Q/\|Q\|_2` with :math:`Q=\sum_c F_c^2`.

    Shapes:
        (B, C, H, W) -> (B, H * W).

    Explained in: book/ll_fer.ipynb
    """
    return F.normalize(stage.float().square().sum(1).flatten(1), dim=1)


def _seen_by(judge: Method, image: Tensor, clean: Tensor) -> dict[str, Tensor]:
    """How far an image is from the clean one in the eyes of a recognizer, for each image."""
    here, there = judge(image), judge(clean)
    distances = feature_distances(here.stages, there.stages)
    figures = {f"feature_distance_{k + 1}": value for k, value in enumerate(distances)}
    for k, (a, b) in enumerate(zip(here.stages, there.stages, strict=True)):
        figures[f"attention_distance_{k + 1}"] = (energy_map(a) - energy_map(b)).square().sum(1)
    logs = [F.log_softmax(seen.logits.float(), 1) for seen in (there, here)]
    figures["prediction_gap"] = (logs[0].exp() * (logs[0] - logs[1])).sum(1)
    return figures
