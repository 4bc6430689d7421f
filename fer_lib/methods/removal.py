"""Is the expression gone, and the person still there? Measurements of a network that removes expressions."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from kornia.filters import laplacian
from torch import Tensor

from fer_lib.data.loader import Loader
from fer_lib.emotions import NAMES, Emotion
from fer_lib.methods.cascade import psnr
from fer_lib.methods.likeness import alike, class_means, nearest_person, person_probe, spread_ratio
from fer_lib.methods.method import Method
from fer_lib.methods.probes import linear_probe
from fer_lib.methods.twins import POINTS, motion
from fer_lib.nets.adversary import Discriminator

CORNERS = (48, 54)  # of the mouth, in the scheme of iBUG 300-W


class Removed(NamedTuple):
    """What a network makes of N faces, on the CPU.

    Attributes:
        image, rest, estimate: (N, 3, H, W) in [0, 1]: the face, its neutral twin, and what the network takes for it.
        residual: (N, 3, H, W) in [-1, 1] (with ``output=neutral`` from -1 to 1 only roughly); again, calm: of the
            estimates and of the twins.
        hasty: of the twins, with the gate opened by the likeliest class, whatever its lead.
        told: of the faces, with the gate opened by the true label, as in training.
        code: (N, K - 1, d).
        motion, moved: (N, 68, 2), true and predicted; or ``None``.

    Explained in: book/err_net.ipynb
    """

    image: Tensor
    rest: Tensor
    estimate: Tensor
    residual: Tensor
    again: Tensor
    calm: Tensor
    hasty: Tensor
    told: Tensor
    code: Tensor
    motion: Tensor | None
    moved: Tensor | None


@torch.no_grad()
def remove(method: Method, loader: Loader) -> Removed:
    """Run an :class:`fer_lib.methods.err_net.ERRNet` over all faces of a loader, then over its estimates and the twins.

    Explained in: book/err_net.ipynb
    """
    rows: list[tuple[Tensor | None, ...]] = []
    for batch in loader.epoch():
        image, rest = (x.expand(-1, 3, -1, -1) for x in (batch.image, batch.neutral))
        seen = method(image).maps
        again, twin = method(seen["neutral"]).maps["residual"], method(rest)
        hasty = method.see(rest, twin.logits.argmax(1)).residual
        told = method.see(image, batch.label).residual
        known = "motion" in seen and batch.landmarks is not None and batch.landmarks.shape[1] == POINTS
        moves = (motion(batch.landmarks, batch.neutral_landmarks), seen["motion"]) if known else (None, None)
        drawn = (seen["residual"], again, twin.maps["residual"], hasty, told)
        rows.append((image, rest, seen["neutral"], *drawn, seen["code"], *moves))
    return Removed(*(None if part[0] is None else torch.cat(part).cpu() for part in zip(*rows, strict=True)))


@torch.no_grad()
def measure(method: Method, loader: Loader, judge: Method | None = None) -> dict[str, Any]:
    """Figures on removal, identity, segments and code; where there is no decoder, on the code alone.

    Faces labelled neutral have nothing to remove, and are left out of the figures on removal. The floors are the
    *zero* residual and the *mean* residual of the true class, taken over the very faces that are measured.

    Returns:
        ``psnr_input`` (the zero floor), ``psnr_mean``, ``psnr_estimate`` in dB, ``ssim_input``, ``ssim_estimate``;
        ``correlation``, ``correlation_mean`` with the true residual; ``psnr_told``, ``correlation_told`` with the gate
        opened by the true label. ``landmark_error``, ``landmark_zero``,
        ``landmark_mean``: mean distance in percent of the eyes'; ``corners``: share of faces whose mouth corners
        are predicted to go ``happiness up``, ``sadness down``, and the same in truth. ``called_neutral`` by the judge,
        ``person``: :func:`nearest_person`, each for ``input``, ``estimate``, ``true``. ``size``: mean size of the
        residual, as a share of the true one's. ``calm``, ``calm_labelled``, ``calm_hasty``, ``again``: that of the neutral
        twins, of the faces labelled neutral, of the twins with the gate opened by the likeliest class, and of the
        estimates, as a share of that of the faces. ``misnamed``: share of the twins of which anything is removed;
        ``silent``: of the expressive faces of which nothing is. ``sharpness``: size of the Laplacian of the estimate
        where the expression shows, as a share of that of the true neutral face. With a discriminator ``critic``: see
        :func:`ask_critic`. ``lengths``: of each segment, mean for each true class, by name. ``own_longest``: share of expressive faces
        whose own segment is the longest. ``swapped``: see :func:`gate_swap`. ``ratio``: :func:`spread_ratio`.
        ``probe``: accuracy of linear probes on the ``expression`` and the ``person``, of the code and (``… encoder``)
        of the encoder's last map; ``person chance``.

    Explained in: book/err_net.ipynb
    """
    loader = Loader(loader.faces, 64, loader.device, loader.size, degrade=loader.degrade)
    figures = _of_the_code(method, loader)
    label = loader.faces.labels
    if method.switches.output == "none" or not (label != Emotion.NEUTRAL).any():
        return figures
    found, shown = remove(method, loader), label != Emotion.NEUTRAL
    figures |= _of_the_picture(found, label, shown) | _of_the_person(found, loader.faces.subjects, shown)
    if method.switches.output == "residual":
        figures["swapped"] = gate_swap(method, loader, found)
    if method.switches.adversary != "none":
        figures["critic"] = ask_critic(method.discriminator, loader, found)
    if found.moved is not None:
        figures |= _of_the_landmarks(found, label, shown)
    if judge is not None:
        pictures = {"input": found.image, "estimate": found.estimate, "true": found.rest}
        figures["called_neutral"] = {name: _called_neutral(lambda faces: judge(faces).logits, x[shown], loader) for name, x in pictures.items()}
    return figures


def typical_codes(code: Tensor, label: Tensor) -> dict[int, Tensor]:
    """For each expression that occurs, a code with its segment alone: the mean of that segment over the class's faces.

    Shapes:
        code (N, K - 1, d), label int64 (N,) -> class: (1, K - 1, d).

    Explained in: book/err_net.ipynb
    """
    codes = {}
    for k in label.unique().tolist():
        if k != Emotion.NEUTRAL:
            codes[k] = torch.zeros_like(code[:1])
            codes[k][:, k - 1] = code[label == k, k - 1].mean(0)
    return codes


@torch.no_grad()
def put_on(method: Method, code: Tensor, rest: Tensor, maps: list[Tensor] | None = None) -> Tensor:
    """Neutral faces with the residual of a code added: an expression put on, by the decoder that learned to remove it.

    Args:
        method: an :class:`fer_lib.methods.err_net.ERRNet`, in evaluation mode.
        code: (B, K - 1, d), or one row, which then serves all; rest: (B, 3, H, W) in [0, 1].
        maps: the encoder's of ``rest``, where they are known already.

    Returns:
        (B, 3, H, W) in [0, 1].

    Explained in: book/err_net.ipynb
    """
    code = code.expand(len(rest), -1, -1)
    return (rest + method.decode(code, maps or method.encoder(rest), rest, rest)).clamp(0, 1)


@torch.no_grad()
def gate_swap(method: Method, loader: Loader, found: Removed) -> dict[str, float]:
    """What does the gate decode? Each neutral face gets the typical segment of each expression.

    Returns:
        ``template``: share of (face, expression) pairs in which the change that is drawn is more like the mean true
        residual of the expression asked for than that of any other; ``chance``.

    Explained in: book/err_net.ipynb
    """
    label, true = loader.faces.labels, found.image - found.rest
    codes = typical_codes(found.code, label)
    templates = torch.stack([true[label == k].mean(0) for k in codes])  # (E, 3, H, W)
    hits = []
    for rest in found.rest.split(64):
        maps = method.encoder(rest.to(loader.device))
        for i, code in enumerate(codes.values()):
            drawn = put_on(method, code.to(loader.device), rest.to(loader.device), maps).cpu() - rest
            scores = torch.stack([alike(drawn, template.expand_as(drawn)) for template in templates])
            hits.append(scores.argmax(0) == i)
    return {"template": torch.cat(hits).float().mean().item(), "chance": 1 / len(codes)}


@torch.no_grad()
def ask_critic(critic: Discriminator, loader: Loader, found: Removed) -> dict[str, float]:
    """Does the second player know its job, on faces it has not seen?

    Returns:
        ``told apart``: share of expressive faces whose true neutral face has a higher mean score than the estimate;
        with an auxiliary head ``named``: its accuracy on the faces, and ``estimate``, ``true``: how often it calls
        these neutral.

    Explained in: book/err_net.ipynb
    """
    shown = loader.faces.labels != Emotion.NEUTRAL
    image, rest, estimate = (x[shown] for x in (found.image, found.rest, found.estimate))
    scores = []
    for pictures in (rest, estimate):
        pairs = zip(image.split(64), pictures.split(64), strict=True)
        scores.append(torch.cat([critic(a.to(loader.device), b.to(loader.device)).mean((1, 2)).cpu() for a, b in pairs]))
    said = {"told apart": (scores[0] > scores[1]).float().mean().item()}
    if critic.kind is not None:
        said["named"] = (_named(critic.classify, found.image, loader) == loader.faces.labels).float().mean().item()
        said |= {name: _called_neutral(critic.classify, x, loader) for name, x in {"estimate": estimate, "true": rest}.items()}
    return said


def _of_the_code(method: Method, loader: Loader) -> dict[str, Any]:
    seen = [method.see(batch.image) for batch in loader.epoch()]
    code, label = torch.cat([s.code.cpu() for s in seen]), loader.faces.labels
    pooled = torch.cat([s.stages[-1].float().mean(dim=(2, 3)).cpu() for s in seen])
    length, present = code.norm(dim=2), label.unique()
    shown = label != Emotion.NEUTRAL
    figures: dict[str, Any] = {"lengths": {NAMES[k]: length[label == k].mean(0).tolist() for k in present.tolist()}}
    if shown.any():
        figures["own_longest"] = (length.argmax(1) + 1 == label)[shown].float().mean().item()
    if len(present) < 2:
        return figures
    flat, people = code.flatten(1), loader.faces.subjects
    figures["ratio"] = spread_ratio(flat, label)
    probe = {"expression": linear_probe(flat, label, people), "expression encoder": linear_probe(pooled, label, people)}
    if people is not None:
        for name, features in {"person": flat, "person encoder": pooled}.items():
            if found := person_probe(features, people):
                probe[name], probe["person chance"] = found
    return figures | {"probe": probe}


def _of_the_picture(found: Removed, label: Tensor, shown: Tensor) -> dict[str, Any]:
    image, rest, estimate, residual = (x[shown] for x in found[:4])
    told = found.told[shown]
    true = image - rest
    typical = class_means(true, label[shown])
    mean = residual.abs().mean().clamp(min=1e-9)
    sizes = {"calm": found.calm[shown], "calm_hasty": found.hasty[shown], "again": found.again[shown]}
    if not shown.all():
        sizes["calm_labelled"] = found.residual[~shown]
    curved = [(laplacian(x, 3).abs() * true.abs()).mean() for x in (estimate, rest)]
    return {
        "psnr_input": psnr(image, rest).mean().item(),
        "psnr_mean": psnr((image - typical).clamp(0, 1), rest).mean().item(),
        "psnr_estimate": psnr(estimate, rest).mean().item(),
        "ssim_input": _ssim(image, rest),
        "ssim_estimate": _ssim(estimate, rest),
        "psnr_told": psnr((image - told).clamp(0, 1), rest).mean().item(),
        "correlation_told": alike(told, true).mean().item(),
        "correlation": alike(residual, true).mean().item(),
        "correlation_mean": alike(typical, true).mean().item(),
        **{name: (x.abs().mean() / mean).item() for name, x in sizes.items()},
        "size": (mean / true.abs().mean()).item(),
        "misnamed": found.calm[shown].flatten(1).any(1).float().mean().item(),
        "silent": 1 - residual.flatten(1).any(1).float().mean().item(),
        "sharpness": (curved[0] / curved[1]).item(),
    }


def _of_the_person(found: Removed, people: Tensor | None, shown: Tensor) -> dict[str, Any]:
    if people is None:
        return {}
    pictures = {"input": found.image, "estimate": found.estimate, "true": found.rest}
    alone = nearest_person(found.rest[shown], found.rest[shown], people[shown]) is None
    # Where a person has one neutral face only, it has to answer; asking it for itself would prove nothing.
    asked = {name: x for name, x in pictures.items() if not (alone and name == "true")}
    shares = {name: nearest_person(x[shown], found.rest[shown], people[shown], alone) for name, x in asked.items()}
    return {"person": {name: share for name, share in shares.items() if share is not None}}


def _of_the_landmarks(found: Removed, label: Tensor, shown: Tensor) -> dict[str, Any]:
    known = shown & found.motion.flatten(1).isfinite().all(1)
    if not known.any():
        return {}
    true, moved = found.motion[known], found.moved[known]
    floors = {"error": moved, "zero": torch.zeros_like(true), "mean": class_means(true, label[known])}
    figures: dict[str, Any] = {
        f"landmark_{name}": 100 * (true - x).norm(dim=2).mean().item() for name, x in floors.items()
    }
    corners = {}
    for emotion, sign, way in ((Emotion.HAPPINESS, -1, "up"), (Emotion.SADNESS, 1, "down")):
        those = label[known] == emotion
        for name, x in {"": moved, "true ": true}.items():
            if those.any():
                up = sign * x[those][:, list(CORNERS), 1].mean(1) > 0
                corners[f"{name}{emotion.title} {way}"] = up.float().mean().item()
    return figures | {"corners": corners}


def _named(classify: Callable[[Tensor], Tensor], images: Tensor, loader: Loader) -> Tensor:
    """The class of each picture, int64 (N,), by logits from a function."""
    return torch.cat([classify(x.to(loader.device)).argmax(1).cpu() for x in images.split(64)])


def _called_neutral(classify: Callable[[Tensor], Tensor], images: Tensor, loader: Loader) -> float:
    return (_named(classify, images, loader) == Emotion.NEUTRAL).float().mean().item()


def _ssim(images: Tensor, others: Tensor) -> float:
    from torchmetrics.functional.image import structural_similarity_index_measure

    pairs = zip(images.split(64), others.split(64), strict=True)
    return torch.cat([structural_similarity_index_measure(a, b, data_range=1.0, reduction="none").view(-1) for a, b in pairs]).mean().item()
