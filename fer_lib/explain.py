"""Looking into a trained recognizer: where it looks, and how much of that is where it should."""

from collections.abc import Iterable, Sequence

import torch
import torch.nn.functional as F
from pytorch_grad_cam import GradCAM, HiResCAM, LayerCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import Tensor, nn

from fer_lib.data.loader import Batch
from fer_lib.errors import FerError
from fer_lib.methods.cascade import Cascade
from fer_lib.methods.method import Method
from fer_lib.methods.probes import gradient_sizes
from fer_lib.nets.backbone import Backbone

MAPS = {"Grad-CAM": GradCAM, "HiResCAM": HiResCAM, "LayerCAM": LayerCAM}


class LogitsOnly(nn.Module):
    """A method as tools from elsewhere expect a classifier: images in, logits out.

    Explained in: book/baseline.ipynb
    """

    def __init__(self, method: Method):
        super().__init__()
        self.method = method

    def forward(self, image: Tensor) -> Tensor:
        return self.method(image).logits


def watched(method: Method) -> list[nn.Module]:
    """The layers whose maps a method's answer is read from: the last ones that still have places.

    The recognizer's last stage (ERR-Net's encoder, the recognizer inside a cascade), where the answer is made from that
    alone; for CLCL with fused scales the map of its head; for LNL with regions that stage and the map that is cut.

    Returns:
        One or two layers, in the order in which an image passes them.

    Raises:
        FerError: if the method has no backbone that is known by one of its usual names.

    Explained in: book/explain.ipynb
    """
    if isinstance(method, Cascade):
        return watched(method.recognizer)
    found = [getattr(method, name) for name in ("reader", "backbone", "encoder") if hasattr(method, name)]
    if not found:
        raise FerError(f"{type(method).__name__} has no backbone, so no layer to look at: name the layers.")
    if hasattr(method, "scales"):
        return [method.head.body]
    last = list(found[0].body.children())[-1]
    return [last, method.map.mix[-1]] if hasattr(method, "map") else [last]


def reading(method: Method, image: Tensor) -> tuple[Method, Tensor]:
    """The recognizer in a method, and the picture that it gets: of a cascade the restored one, else the image itself.

    Shapes:
        image (B, C, h, w) in [0, 1] -> (B, C or 3, H, W) in [0, 1].

    Explained in: book/explain.ipynb
    """
    if not isinstance(method, Cascade):
        return method, image
    with torch.no_grad():
        return method.recognizer, method.eval().restorer(image).clamp(0, 1)


def grad_cam(
    method: Method, image: Tensor, label: Tensor, kind: str = "Grad-CAM", layers: Sequence[nn.Module] = ()
) -> Tensor:
    """How much each place of a layer speaks for ``label``.

    Args:
        method: left in evaluation mode.
        image: (B, C, H, W) in [0, 1]; label: int64 (B,).
        kind: a key of ``MAPS``: ``Grad-CAM`` [selvaraju2017gradcam], ``HiResCAM`` [draelos2020hirescam] or
            ``LayerCAM`` [jiang2021layercam].
        layers: whose maps; by default those of :func:`watched`. Of several, the mean of their scaled maps.

    Returns:
        (B, H, W) on the CPU, each map scaled to [0, 1]; zero everywhere where nothing speaks for the label.

    Raises:
        FerError: if there is no such kind.

    Explained in: book/explain.ipynb
    """
    if kind not in MAPS:
        raise FerError(f"There is no map '{kind}': choose one of {', '.join(MAPS)}.")
    # A frozen network's maps have a gradient only if the image asks for one.
    image = image.detach().clone().requires_grad_()
    with MAPS[kind](LogitsOnly(method.eval()), list(layers) or watched(method)) as cam:
        maps = cam(image, [ClassifierOutputTarget(k) for k in label.tolist()])
    return torch.from_numpy(maps)


def share_inside(maps: Tensor, mask: Tensor) -> Tensor:
    """The share of each map's mass that lies inside the mask.

    A map that ignores the mask has the mask's share of the area, on average.

    Args:
        maps: (B, H, W), not negative; mask: (B, 1, H, W) in [0, 1].

    Returns:
        (B,) in [0, 1]; NaN where a map is zero everywhere.

    Explained in: book/baseline.ipynb
    """
    return (maps * mask[:, 0]).sum((1, 2)) / maps.sum((1, 2))


def wanted_change(recognizer: Method, image: Tensor, label: Tensor) -> Tensor:
    r"""How the recognizer would like each pixel to change: :math:`-\partial\,\mathrm{CE}/\partial\hat x`, summed over colours.

    Args:
        recognizer: left in evaluation mode.
        image: (B, 3, H, W) in [0, 1]; label: int64 (B,).

    Returns:
        (B, H, W) in [-1, 1], positive where brighter is asked for; each map divided by the
        99th percentile of its own size, what is beyond cut off.

    Explained in: book/ll_fer.ipynb
    """
    image = image.detach().clone().requires_grad_()
    loss = F.cross_entropy(recognizer.eval()(image).logits.float(), label, reduction="sum")
    change = -torch.autograd.grad(loss, image)[0].sum(1)  # (B, H, W)
    largest = change.abs().flatten(1).quantile(0.99, dim=1).clamp(min=1e-20)
    return (change / largest[:, None, None]).clamp(-1, 1)


def settle(method: Method, batches: Iterable[Batch]) -> None:
    """Give batch norm the means and spreads of some batches, and teach nothing.

    In a network that has learned nothing they are 0 and 1. In evaluation mode it is then not the network that training begins with.

    Explained in: book/clcl.ipynb
    """
    norms, was_training = [m for m in method.modules() if isinstance(m, nn.BatchNorm2d)], method.training
    usual = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the mean over all batches
    with torch.no_grad():
        for batch in batches:
            method.train()(batch.image)
    for norm, momentum in zip(norms, usual, strict=True):
        norm.momentum = momentum
    method.train(was_training)


def learning_intensity(method: Method, batch: Batch, stage: str = "", player: str = "") -> dict[str, list[float]]:
    """How hard a method's loss pulls at each stage of its recognizer: mean magnitude of the gradient [xie2024clcl].

    Args:
        method: any method of the book that trains its recognizer, or through it; measured in evaluation mode and left
            in its own.
        stage, player: whose loss; by default that of the last player, in the order of training, that moves the
            recognizer's backbone; where none does, of the last stage's first player.

    Returns:
        ``total`` and every term of the loss by its name, with its weight (``cross-entropy`` is what the
        classification asks); one number a stage, see :func:`fer_lib.methods.probes.gradient_size`.

    Raises:
        FerError: if there is no such stage and player, or if its loss does not reach the recognizer.

    Explained in: book/clcl.ipynb
    """
    bodies = [m for m in method.modules() if isinstance(m, Backbone)]
    # A cascade asks partly by its recognizer, partly by the copy that stays as it was.
    body, heard = bodies[0], bodies if hasattr(method, "reference") else bodies[:1]
    plan = [(s, p) for s in method.stages() for p in s.players if stage in ("", s.name) and player in ("", p.name)]
    movers = [(s, p) for s, p in plan if any(body in method.get_submodule(name).modules() for name in p.modules)]
    first_of_last = [(s, p) for s, p in plan if s == plan[-1][0]][:1]
    passes, was_training = [], method.training
    hooks = [one.register_forward_hook(lambda _, inputs, maps: passes.append(maps)) for one in heard]
    for chosen, whose in movers[-1:] or first_of_last:
        terms = method.eval().losses(batch, chosen.name, whose.name)
    for hook in hooks:
        hook.remove()
    method.train(was_training)
    reached = [maps for maps in passes if maps[0].requires_grad]
    if not reached:
        raise FerError(
            f"No such loss of {method.name} reaches its recognizer, so there is no learning intensity: "
            "take a row that trains the recognizer, or through it."
        )
    each = [gradient_sizes(terms, maps) for maps in reached]
    return {name: [sum(sizes) for sizes in zip(*(x[name] for x in each), strict=True)] for name in each[0]}


def add_batch_mean(logits: Tensor, order: Tensor, batch: int, bias: Tensor) -> Tensor:
    """What a head that adds its batch's mean feature would have said.

    For a linear head, adding the mean feature of the batch before it is the same as
    adding the batch's mean logit without the bias after it. One published head does so
    in evaluation too, times a learned factor [shi2021learning]; here the factor is 1.

    Args:
        logits: (N, K) of the plain head.
        order: int64 (N,), the order in which the faces come.
        batch: how many share a batch.
        bias: (K,) of the linear layer.

    Returns:
        (N, K), row i still face i.

    Explained in: book/baseline.ipynb
    """
    changed = torch.empty_like(logits)
    for rows in order.split(batch):
        changed[rows] = logits[rows] + (logits[rows] - bias).mean(0)
    return changed
