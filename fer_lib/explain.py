"""Looking into a trained recognizer: where it looks, and how much of that is where it should."""

import torch
import torch.nn.functional as F
from pytorch_grad_cam import GradCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import Tensor, nn

from fer_lib.data.loader import Batch
from fer_lib.methods.method import Method
from fer_lib.methods.probes import gradient_sizes
from fer_lib.nets.backbone import Backbone


class LogitsOnly(nn.Module):
    """A method as tools from elsewhere expect a classifier: images in, logits out.

    Explained in: book/baseline.ipynb
    """

    def __init__(self, method: Method):
        super().__init__()
        self.method = method

    def forward(self, image: Tensor) -> Tensor:
        return self.method(image).logits


def grad_cam(method: Method, image: Tensor, label: Tensor) -> Tensor:
    """How much each place of the last stage speaks for ``label`` [selvaraju2017gradcam].

    Args:
        method: a method with a ``backbone``; left in evaluation mode.
        image: (B, C, H, W) in [0, 1]; label: int64 (B,).

    Returns:
        (B, H, W) on the CPU, each map scaled to [0, 1].

    Explained in: book/baseline.ipynb
    """
    layer = list(method.backbone.body.children())[-1]
    with GradCAM(LogitsOnly(method.eval()), [layer]) as cam:
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


def learning_intensity(method: Method, batch: Batch, stage: str = "", player: str = "") -> dict[str, list[float]]:
    """How hard a method's loss pulls at each stage of its recognizer: mean magnitude of the gradient [xie2024clcl].

    Args:
        method: any method of the book; measured in evaluation mode and left in its own.
        stage, player: whose loss; by default the first player's in the last stage of training.

    Returns:
        ``total`` and every term of the loss by its name, with its weight (``cross-entropy`` is what the
        classification asks); one number a stage, see :func:`fer_lib.methods.probes.gradient_size`. A
        method without the backbone has one: the map of its ``encoder``.

    Explained in: book/clcl.ipynb
    """
    last = method.stages()[-1]
    passes, was_training = [], method.training
    body = next((m for m in method.modules() if isinstance(m, Backbone)), None) or method.get_submodule("encoder")
    hook = body.register_forward_hook(lambda _, inputs, maps: passes.append(maps if isinstance(maps, list) else [maps]))
    terms = method.eval().losses(batch, stage or last.name, player or last.players[0].name)
    hook.remove()
    method.train(was_training)
    stages = [maps for maps in passes if maps[0].requires_grad][-1]
    return gradient_sizes(terms, stages)


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
