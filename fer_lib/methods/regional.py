"""Do the weights of regions mean anything? Measurements of a network that weighs the regions of a face."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from fer_lib.data.loader import Batch, Loader
from fer_lib.emotions import NAMES
from fer_lib.methods.method import Method

COVERED = 400  # faces that are covered cell by cell: each costs as many predictions as there are cells


def crucial(mask: Tensor, side: int) -> Tensor:
    """Which cells of a grid hold more than their even share of each face's expression mask.

    Shapes:
        mask (B, 1, H, W) in [0, 1] -> bool (B, side * side).

    Explained in: book/lnl.ipynb
    """
    mass = F.adaptive_avg_pool2d(mask, side).flatten(1)
    return mass > mass.mean(1, keepdim=True)


def share_on(weight: Tensor, chosen: Tensor) -> Tensor:
    """The share of each row's mass that lies on the chosen cells: (B, M), bool (B, M) -> (B,).

    Explained in: book/lnl.ipynb
    """
    return (weight * chosen).sum(1) / weight.sum(1).clamp(min=1e-12)


def cover(image: Tensor, side: int, cell: int) -> Tensor:
    """The images (B, C, H, W) with one cell of a grid painted over in each image's mean colour.

    Explained in: book/lnl.ipynb
    """
    rows, columns = (torch.arange(n, device=image.device) * side // n for n in image.shape[-2:])
    inside = rows[:, None] * side + columns == cell  # (H, W)
    return torch.where(inside, image.mean(dim=(2, 3), keepdim=True), image)


@torch.no_grad()
def measure(method: Method, loader: Loader) -> dict[str, Any]:
    """Where the weights lie, and whether they agree with what covering each cell costs; Grad-CAM as a rival.

    The network's answer o hears the backbone's last map besides the regions; figures called ``… local`` are of the
    weighted answer of the local networks alone. Agreement is a Spearman correlation over the cells, of means over the
    same ``COVERED`` faces. With ``overlap`` the regions are not the cells, and what needs cells is left out.

    Args:
        method: an :class:`fer_lib.methods.lnl.LNL`, in evaluation mode.

    Returns:
        ``weight``: mean over all faces for each region, mean 1; ``weight_by_emotion``; ``spread``: how far single
        faces are from that mean; ``largest``: the mean of a face's largest weight. ``accuracy`` and
        ``accuracy local`` with the ``own`` weights, ``even`` ones, the ``mean`` ones for every face, and ``shuffled`` over
        the regions of each face. ``deaf``: accuracy with the ``regions``, or the ``backbone``, replaced by their mean
        over all faces. ``alone``: accuracy of each local network. ``cam``: mass of Grad-CAM on each cell, mean 1.
        ``lost``, ``faded`` (and ``… local``): accuracy, and log-probability of the true label in nats, that covering
        a cell costs. ``rank_weight``, ``rank_cam`` with ``faded``; ``rank_weight_local`` with ``faded local``;
        ``rank_alone``: of weight and ``alone``. ``crucial``, ``crucial_cam``, ``crucial_even``: share on crucial cells.

    Explained in: book/lnl.ipynb
    """
    s = method.switches
    loader = Loader(loader.faces, 128, loader.device, loader.size, degrade=loader.degrade)
    label, masks = loader.faces.labels, loader.faces.masks
    figures: dict[str, Any] = {}
    weight = None
    if s.regional:
        weight = torch.cat([method.see(batch.image).weight.cpu() for batch in loader.epoch()])
        figures |= _of_the_weights(weight, label) | _replaced(method, loader, weight)
    if s.overlap:
        return figures
    cam, chosen = (torch.cat(parts) for parts in zip(*(_grad_cam(method, batch) for batch in loader.epoch()), strict=True))
    figures["cam"] = (cam.mean(0) / cam.mean().clamp(min=1e-12)).tolist()
    if masks is not None:
        levels = {"crucial_cam": cam, "crucial_even": torch.ones_like(cam)} | ({} if weight is None else {"crucial": weight})
        figures |= {name: share_on(level, chosen).mean().item() for name, level in levels.items()}
    figures |= _covered(method, loader)
    few = slice(COVERED)
    _rank(figures, "rank_cam", cam[few].mean(0), figures["faded"])
    if weight is not None:
        _rank(figures, "rank_weight", weight[few].mean(0), figures["faded"])
        if s.local:
            _rank(figures, "rank_weight_local", weight[few].mean(0), figures["faded local"])
            _rank(figures, "rank_alone", weight.mean(0), figures["alone"])
    return figures


def _of_the_weights(weight: Tensor, label: Tensor) -> dict[str, Any]:
    mean = weight.mean(0)
    by_emotion = {NAMES[k]: weight[label == k].mean(0).tolist() for k in label.unique().tolist()}
    spread, largest = (weight - mean).abs().mean().item(), weight.amax(1).mean().item()
    return {"weight": mean.tolist(), "weight_by_emotion": by_emotion, "spread": spread, "largest": largest}


def _replaced(method: Method, loader: Loader, weight: Tensor) -> dict[str, Any]:
    """What becomes of the accuracy when weights, or one side of what the answer hears, are replaced after training."""
    label, order = loader.faces.labels, torch.rand(weight.shape, generator=torch.Generator().manual_seed(0)).argsort(1)
    kinds = {"own": weight}
    if method.switches.attention != "none":
        kinds |= {"even": torch.ones_like(weight), "mean": weight.mean(0).expand_as(weight), "shuffled": weight.gather(1, order)}
    figures: dict[str, Any] = {"accuracy": {}, "deaf": {}} | ({"accuracy local": {}} if method.switches.local else {})
    for name, other in kinds.items():
        seen = [method.see(batch.image, other[batch.index.cpu()].to(loader.device)) for batch in loader.epoch()]
        figures["accuracy"][name] = _accuracy(torch.cat([x.logits for x in seen]), label)
        if method.switches.local:
            figures["accuracy local"][name] = _accuracy(torch.cat([x.fused for x in seen]), label)
        if name == "own":
            heard = torch.cat([x.joined for x in seen])
            alone = torch.cat([x.local for x in seen]).argmax(2).cpu() if method.switches.local else None
    regions = heard.shape[1] - method.backbone.channels[-1]
    for name, part in {"regions": slice(regions), "backbone": slice(regions, None)}.items():
        mixed = heard.clone()
        mixed[:, part] = heard[:, part].mean(0)
        figures["deaf"][name] = _accuracy(method.head(mixed), label)
    return figures | ({} if alone is None else {"alone": (alone == label[:, None]).float().mean(0).tolist()})


def _accuracy(logits: Tensor, label: Tensor) -> float:
    return (logits.argmax(1).cpu() == label).float().mean().item()


def _grad_cam(method: Method, batch: Batch) -> tuple[Tensor, Tensor]:
    """Grad-CAM of the true label on the backbone's last map [selvaraju2017gradcam], its mass on each cell; crucial cells."""
    side = method.switches.side
    with torch.enable_grad():
        seen = method.see(batch.image)
        speaks = seen.logits.gather(1, batch.label[:, None]).sum()
        slope = torch.autograd.grad(speaks, seen.stages[3])[0].mean(dim=(2, 3), keepdim=True)
    cam = F.relu((slope * seen.stages[3]).sum(1, keepdim=True)).detach()
    # Each place counts for the cells by its area in them, whatever the two grids.
    cam = F.avg_pool2d(cam.repeat_interleave(side, 2).repeat_interleave(side, 3), cam.shape[-1]).flatten(1)
    cam = cam / cam.mean(1, keepdim=True).clamp(min=1e-12)
    chosen = torch.zeros_like(cam) if batch.mask is None else crucial(batch.mask, side)
    return cam.cpu(), chosen.cpu()


def _covered(method: Method, loader: Loader) -> dict[str, list[float]]:
    """What covering each cell costs the whole answer, and that of the local networks alone."""
    few, side = loader.faces.subset(torch.arange(min(len(loader.faces), COVERED))), method.switches.side
    hits: dict[str, list[Tensor]] = {}
    for batch in Loader(few, loader.batch_size, loader.device, loader.size, degrade=loader.degrade).epoch():
        views = [batch.image, *(cover(batch.image, side, cell) for cell in range(side**2))]
        seen = [method.see(view) for view in views]
        for name, logits in {"": [x.logits for x in seen], " local": [x.fused for x in seen]}.items():
            if logits[0] is not None:
                own = [x.float().log_softmax(1).gather(1, batch.label[:, None])[:, 0].cpu() for x in logits]
                right = [(x.argmax(1) == batch.label).float().cpu() for x in logits]
                hits.setdefault(f"faded{name}", []).append(torch.stack(own))
                hits.setdefault(f"lost{name}", []).append(torch.stack(right))
    means = {name: torch.cat(parts, 1).mean(1) for name, parts in hits.items()}
    return {name: (mean[0] - mean[1:]).tolist() for name, mean in means.items()}


def _rank(figures: dict[str, Any], name: str, level: Tensor, cost: list[float]) -> None:
    """Spearman's correlation, where neither side is the same for all cells."""
    from scipy.stats import spearmanr

    if len(level.unique()) > 1 and len(set(cost)) > 1:
        figures[name] = float(spearmanr(level.tolist(), cost).statistic)
