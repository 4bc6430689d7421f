"""Is a map of importance true? Take away what it points at, take away what the network has learned, and see."""

from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from typing import Any

import numpy as np
import torch
from kornia.filters import gaussian_blur2d
from scipy.stats import rankdata
from torch import Tensor, nn

from fer_lib.errors import FerError
from fer_lib.methods.clcl import CLCL
from fer_lib.methods.method import Method
from fer_lib.trained import rebuild

SHARES = tuple(k / 8 for k in range(9))
ANOTHER = 1_000_000  # added to a seed, so that weights are not those with which a run of this seed began


def blurred(image: Tensor) -> Tensor:
    """The images (B, C, H, W) with all that is fine taken out: a Gaussian blur, an eighth of the width its deviation.

    Explained in: book/explain.ipynb
    """
    deviation = image.shape[-1] / 8
    kernel = 2 * round(2 * deviation) + 1
    return gaussian_blur2d(image, (kernel, kernel), (deviation, deviation))


def centre_blob(side: int, width: float = 0.4) -> Tensor:
    """A Gaussian hill in the middle of a square, (side, side), 1 at its top: a map that has not seen the face.

    Args:
        width: its deviation, in halves of the side.

    Explained in: book/explain.ipynb
    """
    ramp = torch.linspace(-1, 1, side)
    return torch.exp(-(ramp[:, None] ** 2 + ramp**2) / (2 * width**2))


def places_in_order(maps: Tensor, seed: int = 0) -> Tensor:
    """For each pixel, its place in the order of importance; equal pixels stand in an order drawn by lot.

    Shapes:
        (B, H, W) -> int64 (B, H, W), 0 for the most important one.

    Explained in: book/explain.ipynb
    """
    flat = maps.flatten(1)
    lot = torch.randperm(flat.shape[1], generator=torch.Generator().manual_seed(seed))
    order = lot[flat[:, lot].argsort(dim=1, descending=True, stable=True)]
    return order.argsort(dim=1).view_as(maps)


@torch.no_grad()
def replacement_curve(
    method: Method, image: Tensor, other: Tensor, maps: Tensor, label: Tensor, shares: Sequence[float] = SHARES
) -> Tensor:
    """How sure the network stays of ``label`` while the image turns into another one, the most important pixels first.

    From the image to an empty one this is *deletion*, from an empty one to the image *insertion* [petsiuk2018rise].

    Args:
        method: left in evaluation mode.
        image, other: (B, C, H, W) in [0, 1]: what is there at first, and what replaces it.
        maps: (B, H, W), how important each pixel is, not negative.
        label: int64 (B,).
        shares: of the pixels that are replaced, each in [0, 1].

    Returns:
        (B, len(shares)) on the CPU: probability of ``label``; NaN where a map is zero everywhere, which puts no pixel first.

    Explained in: book/explain.ipynb
    """
    method.eval()
    place = places_in_order(maps.to(image.device))[:, None]  # (B, 1, H, W)
    curve = []
    for share in shares:
        mixed = torch.where(place < share * place[0].numel(), other, image)
        sure = method(mixed).logits.float().softmax(1)
        curve.append(sure.gather(1, label[:, None])[:, 0].cpu())
    empty = maps.flatten(1).amax(1).cpu() <= 0
    return torch.stack(curve, 1).masked_fill(empty[:, None], torch.nan)


def area_under(curve: Tensor, shares: Sequence[float] = SHARES) -> Tensor:
    """The mean height of each curve, by trapezoids: (B, S) -> (B,).

    Explained in: book/explain.ipynb
    """
    x = torch.tensor(shares)
    return torch.trapezoid(curve, x, dim=1) / (x[-1] - x[0])


def rank_agreement(first: Tensor, second: Tensor) -> Tensor:
    """Spearman's correlation of each map with that of the same row; NaN where one is the same everywhere.

    Shapes:
        two of (B, ...) -> float32 (B,).

    Explained in: book/explain.ipynb
    """
    ranks = [rankdata(x.flatten(1).numpy(), axis=1) for x in (first, second)]
    a, b = (r - r.mean(1, keepdims=True) for r in ranks)
    with np.errstate(invalid="ignore"):
        found = (a * b).sum(1) / np.sqrt((a**2).sum(1) * (b**2).sum(1))
    return torch.from_numpy(found).float()


def parts_from_the_top(method: Method) -> list[tuple[str, list[nn.Module]]]:
    """A network's parts, the last to see an image first; the backbone's stages, and its stem, each count as a part.

    Explained in: book/explain.ipynb
    """
    parts: list[tuple[str, list[nn.Module]]] = []
    for name, child in method.named_children():
        body = getattr(child, "body", None) if name in ("backbone", "encoder") else None
        if body is None:
            parts.append((name, [child]))
            continue
        inner = [(key, m) for key, m in body.named_children() if any(True for _ in m.parameters())]
        stages = [(f"stage {k}", [m]) for k, (_, m) in enumerate(inner[-4:], 1)]
        parts += [("stem", [m for _, m in inner[:-4]]), *stages]
    return parts[::-1]


def before_training(about: Mapping[str, Any], seed: int = 0) -> Method:
    """A network as it was before it learned anything: built by the same recipe, with other random weights.

    Args:
        about: ``method``, ``profile``, ``parameters`` and ``classes``, as :class:`fer_lib.trained.Trained` has them.
        seed: of the weights; no run of that seed began with the same ones.

    Explained in: book/explain.ipynb
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(ANOTHER + seed)
        return rebuild(dict(about))[0].eval()


def randomized(method: Method, fresh: Method) -> Iterator[tuple[str, Method]]:
    """Copies of a network that forget, part by part from the top, what they have learned [adebayo2018sanity].

    Args:
        method: the trained network; it stays as it is.
        fresh: one of the same recipe that has learned nothing, from :func:`before_training`.

    Yields:
        The name of the part that was forgotten last, and the network: that part, and all above it, as ``fresh`` has them,
        so that a layer that begins at zero is zero again.
        It is one network all the time: look at it before the next is asked for.

    Explained in: book/explain.ipynb
    """
    network = deepcopy(method).eval()
    first = dict(parts_from_the_top(fresh))
    for name, modules in parts_from_the_top(network):
        for module, source in zip(modules, first[name], strict=True):
            module.load_state_dict(source.state_dict())
        yield name, network


@torch.no_grad()
def scale_contributions(method: CLCL, image: Tensor, label: Tensor) -> Tensor:
    """What each scale of CLCL adds to the logit of ``label``: exact, since all behind the weighted sum is linear.

    Args:
        method: with fused scales and no batch mean; left in evaluation mode.
        image: (B, C, H, W) in [0, 1]; label: int64 (B,).

    Returns:
        (B, 4) on the CPU; their sum is the logit less what the head says to a fused map of zeros.

    Raises:
        FerError: if there are no scales, or a batch mean.

    Explained in: book/explain.ipynb
    """
    if method.switches.scales == "none" or method.switches.batch_mean != "off":
        raise FerError("Only the scales of a head of its own can be told apart: take a row with scales and batch_mean=off.")
    maps = method.eval()(image).maps
    rest = method.head(torch.zeros_like(maps["scale_1"]))
    summands = [maps["scale_weights"][:, j, None, None, None] * maps[f"scale_{j + 1}"] for j in range(4)]
    said = [(method.head(x) - rest).gather(1, label[:, None]) for x in summands]
    return torch.cat(said, 1).float().cpu()
