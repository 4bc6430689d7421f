"""The reference recognizer: a backbone, the mean of its last map, one linear layer.

Every other method of the book is measured against this one.
"""

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from fer_lib.data.loader import Batch
from fer_lib.methods.method import Method, Prediction, Term
from fer_lib.nets.backbone import Backbone


def soft_cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    r"""Cross-entropy against a distribution over the classes, mean over the batch.

    .. math:: \mathcal L = -\frac1B\sum_{b}\sum_{k} q_{bk}\,\log\operatorname{softmax}(z_b)_k

    With labels, each a distribution with all its weight in one place, it is plain cross-entropy; with the
    annotators' votes it is what [barsoum2016training] calls the cross-entropy loss (CEL).

    Shapes:
        logits (B, K), target (B, K) with rows that sum to 1, or labels int64 (B,) -> scalar.

    Example:
        >>> import torch
        >>> round(soft_cross_entropy(torch.zeros(1, 4), torch.full((1, 4), 0.25)).item(), 4)
        1.3863

    Explained in: book/baseline.ipynb
    """
    if target.dim() == 1:
        target = F.one_hot(target, logits.shape[1])
    return -(target * F.log_softmax(logits.float(), dim=1)).sum(dim=1).mean()


class Baseline(Method):
    """ResNet, global average pooling, linear layer.

    Args:
        switches: see :class:`Baseline.Switches`.
        backbone: gives four stage maps; the last one is classified.
        classes: how many emotions are told apart.

    Shapes:
        image (B, C, H, W) in [0, 1] -> logits (B, classes).

    Explained in: book/baseline.ipynb
    """

    @dataclass(frozen=True)
    class Switches:
        """None: the backbone, the target and all else are the recipe's.

        Explained in: book/baseline.ipynb
        """

    name = "baseline"
    ROWS = {
        "R0": {},
        "R1": {"augment": 0.0},
        "R2": {"target": "smooth"},
        "R3": {"target": "votes"},
        "R4": {"target": "votes", "epochs": 40},
        "R5": {"target": "votes", "epochs": 40, "stem_stride": 1},
        "R6": {"target": "votes", "epochs": 40, "augment": 2.0},
    }

    def __init__(self, switches: Switches, backbone: Backbone, classes: int):
        super().__init__()
        self.switches = switches
        self.backbone = backbone
        self.head = nn.Linear(backbone.channels[-1], classes)

    def forward(self, image: Tensor) -> Prediction:
        stages = self.backbone(image)
        return Prediction(self.head(stages[-1].mean(dim=(2, 3))), stages)

    def losses(self, batch: Batch, stage: str, player: str) -> dict[str, Term]:
        return {"cross-entropy": Term(soft_cross_entropy(self(batch.image).logits, batch.target))}
