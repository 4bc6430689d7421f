"""The recipe that public code for facial expressions uses: a folder of pictures, PIL, workers, float32 in NCHW.

For each picture a worker process opens the file, changes it with torchvision's transforms and makes a tensor of
it. Everything else is kept as in ``fer_lib``: the network and its first weights, the pictures, the batch, how
far pictures are changed, AdamW.
"""

from collections.abc import Iterable
from itertools import chain
from pathlib import Path

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import ImageFolder

from fer_lib.bench.timing import stopwatch, wait_for
from fer_lib.data.faceset import FaceSet
from fer_lib.data.loader import Augmentation
from fer_lib.methods.baseline import Baseline

Batches = Iterable[tuple[Tensor, Tensor]]


def write_folder(faces: FaceSet, folder: Path) -> Path:
    """The pictures as PNG files, ``<label>/<row>.png``: without loss, so that both recipes see the same pixels.

    Explained in: book/speed.md
    """
    for row, (image, label) in enumerate(zip(faces.images, faces.labels.tolist(), strict=True)):
        path = folder / str(label) / f"{row:06d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(path)
    return folder


def public_transforms(size: int, amounts: Augmentation | None) -> transforms.Compose:
    """What a worker does with one picture: PIL image -> float32 (3, ``size``, ``size``) in [0, 1].

    Args:
        amounts: how far pictures are changed in training, as in :class:`fer_lib.data.loader.Loader`; ``None``: not at all.

    Explained in: book/speed.md
    """
    steps = [transforms.Resize((size, size)), transforms.ToTensor()]
    if amounts:
        zoom, (low, high) = (1 - amounts.scale, 1 + amounts.scale), amounts.erase_side
        moved = {"translate": (amounts.shift, amounts.shift), "scale": zoom}
        steps[1:1] = [
            transforms.RandomHorizontalFlip(amounts.flip),
            transforms.RandomAffine(amounts.rotate, **moved, interpolation=transforms.InterpolationMode.BILINEAR),
            transforms.ColorJitter(brightness=amounts.light / 2, contrast=amounts.light),
        ]
        steps.append(transforms.RandomErasing(amounts.erase, scale=(low**2, high**2)))
    return transforms.Compose(steps)


class Plain(nn.Module):
    """The network of a :class:`fer_lib.methods.baseline.Baseline`, weights shared, with its maps left in NCHW.

    Shapes:
        image (B, 3, H, W) in [0, 1] -> logits (B, classes), the same as the baseline's but for rounding.

    Explained in: book/speed.md
    """

    def __init__(self, baseline: Baseline):
        super().__init__()
        self.body, self.head = baseline.backbone.body, baseline.head
        self.mean, self.std = baseline.backbone.mean, baseline.backbone.std

    def forward(self, image: Tensor) -> Tensor:
        return self.head(self.body((image - self.mean) / self.std)[-1].mean(dim=(2, 3)))


class PublicRecipe:
    """The public recipe at work; each measurement returns its seconds.

    The clock of :meth:`train` and :meth:`predict` starts when the first batch is there: starting the workers and waiting
    for their first batch is not held against the recipe.

    Args:
        faces: labelled pictures, 3 channels; written to ``folder``.
        network: trained in place; given in the memory format and on the device where it is to be.
        batch: pictures to a step; a multiple of it are in ``faces``.
        amounts: of augmentation in training.
        workers: processes that read and change pictures; 0: the main process does.

    Explained in: book/speed.md
    """

    def __init__(
        self, faces: FaceSet, folder: Path, network: Plain, batch: int, size: int, amounts: Augmentation, workers: int
    ):
        self.network, self.device = network, network.mean.device
        self.optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3, weight_decay=0.05)
        write_folder(faces, folder)
        common = {"batch_size": batch, "num_workers": workers, "pin_memory": self.device.type == "cuda"}
        common["persistent_workers"] = workers > 0
        self.training = DataLoader(
            ImageFolder(str(folder), public_transforms(size, amounts)), shuffle=True, drop_last=True, **common
        )
        self.testing = DataLoader(ImageFolder(str(folder), public_transforms(size, None)), **common)

    def train(self) -> float:
        """One epoch."""
        return self._from_first(self.training, self._learn)

    def train_alone(self) -> float:
        """As many steps on one batch that is there already: the network without the data."""
        return self._alone(self._learn)

    def predict(self) -> float:
        """Predictions for all pictures."""
        return self._from_first(self.testing, self._name)

    def predict_alone(self) -> float:
        """As many predictions for one batch that is there already."""
        return self._alone(self._name)

    def _from_first(self, loader: DataLoader, work) -> float:
        batches = iter(loader)
        first = next(batches)
        return stopwatch(lambda: work(chain([first], batches)), self.device)

    def _alone(self, work) -> float:
        held = [part.to(self.device) for part in next(iter(self.training))]
        wait_for(self.device)
        return stopwatch(lambda: work([held] * len(self.training)), self.device)

    def _learn(self, batches: Batches) -> float:
        self.network.train()
        total = torch.zeros((), device=self.device)
        for image, label in batches:
            image, label = image.to(self.device, non_blocking=True), label.to(self.device, non_blocking=True)
            self.optimizer.zero_grad()
            loss = F.cross_entropy(self.network(image), label)
            loss.backward()
            self.optimizer.step()
            total += loss.detach()
        return total.item()

    @torch.no_grad()
    def _name(self, batches: Batches) -> Tensor:
        self.network.eval()
        return torch.cat([self.network(image.to(self.device, non_blocking=True)).argmax(1) for image, _ in batches]).cpu()
