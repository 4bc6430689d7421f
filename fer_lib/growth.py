"""Do the region weights follow the signal? Faces with their expression in one place, and the weights as they learn."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from fer_lib.data.faces import make_faces
from fer_lib.data.faceset import FaceSet
from fer_lib.data.loader import Augmentation, Loader
from fer_lib.errors import FerError
from fer_lib.methods.lnl import LNL
from fer_lib.methods.regional import share_on
from fer_lib.nets.backbone import Backbone
from fer_lib.recipe import Recipe, pick_device
from fer_lib.sources import sources
from fer_lib.train import fit

PLACES = ("mouth", "brows", "either", "nowhere")
NOSE_BRIDGE, NOSE_BASE = 29, 33  # landmarks of the iBUG scheme


def partial_faces(faces: FaceSet, place: str) -> FaceSet:
    """Procedural faces with their expression in one place, and their neutral twins everywhere else.

    Args:
        faces: with landmarks and neutral twins.
        place: ``mouth``: below the base of the nose; ``brows``: brows and eyes, above the middle of its bridge;
            ``either``: below on every other face, above on the rest; ``nowhere``: each picture is its own mean colour, and nothing more.

    Raises:
        FerError: if there is no such place.

    Explained in: book/lnl.ipynb
    """
    if place not in PLACES:
        raise FerError(f"There is no place '{place}': choose one of {', '.join(PLACES)}.")
    if place == "nowhere":
        flat = faces.images.float().mean(dim=(2, 3), keepdim=True).round().to(torch.uint8)
        flat = flat.expand_as(faces.images).contiguous()
        return replace(faces, images=flat, neutral=flat, fingerprint=f"{faces.fingerprint}-{place}")
    row, low = torch.arange(faces.images.shape[-2]), moves_the_mouth(len(faces), place)[:, None]  # (N, 1)
    base, bridge = (faces.landmarks[:, point, 1:] for point in (NOSE_BASE, NOSE_BRIDGE))  # (N, 1) each
    shows = torch.where(low, row > base, row < bridge)[:, None, :, None]
    images = torch.where(shows, faces.images, faces.neutral)
    return replace(faces, images=images, fingerprint=f"{faces.fingerprint}-{place}")


def moves_the_mouth(count: int, place: str) -> Tensor:
    """Which of so many partial faces have their expression below the nose: bool (count,).

    Explained in: book/lnl.ipynb
    """
    return torch.arange(count) % 2 == 0 if place == "either" else torch.full((count,), place == "mouth")


def changed_cells(faces: FaceSet, side: int) -> Tensor:
    """The cells of a grid that hold more than their even share of what the expression changes, over all faces.

    Returns:
        bool (side * side,): of the mean absolute difference between the faces and their neutral twins.

    Explained in: book/lnl.ipynb
    """
    change = (faces.images.float() - faces.neutral.float()).abs().mean(dim=(0, 1))
    mass = F.adaptive_avg_pool2d(change[None, None], side).flatten()
    return mass > mass.mean()


def digest() -> str:
    """Of the code that decides a growth: that of LNL's runs, and this module's.

    Explained in: book/lnl.ipynb
    """
    return sources("lnl", "faces", modules=("fer_lib.growth",))


@dataclass
class Growth:
    """The weights of one training on partial faces.

    Attributes:
        place, seed: which training it was.
        weight: (epochs + 1, M), mean over the test faces: before training and after each epoch.
        cells: bool (M,), :func:`changed_cells`; all false where nothing changes.
        apart: (2, M), with ``either``: at the end, mean over the faces that move the mouth, and over the others.
        accuracy: on the test faces, at the end.
        faces: the test faces.
        method: as trained.

    Explained in: book/lnl.ipynb
    """

    place: str
    seed: int
    weight: Tensor
    cells: Tensor
    accuracy: float
    faces: FaceSet
    method: LNL
    apart: Tensor | None = None

    def share(self, cells: Tensor) -> list[float]:
        """The share of the weight on the cells, for each epoch."""
        return share_on(self.weight, cells.expand_as(self.weight)).tolist()


def grow(
    place: str, recipe: Recipe, switches: LNL.Switches, seed: int = 0, device: str = "auto", log: Callable = print
) -> Growth:
    """Train on partial faces, and look at the weights before and after every epoch.

    Args:
        place: see :func:`partial_faces`.
        recipe: sizes, numbers of faces, epochs and so on.
        switches: of a row with region weights.
        seed: of weights, order and augmentation; the faces stay the same.

    Explained in: book/lnl.ipynb
    """
    where = pick_device(device)
    counts = {"train": recipe.train_images, "test": recipe.test_images}
    sets = {s: partial_faces(make_faces(n, s, size=recipe.size, neutral=True), place) for s, n in counts.items()}
    torch.manual_seed(seed)
    backbone = Backbone(recipe.backbone, recipe.stem_stride, size=recipe.size)
    method = LNL(switches, backbone, sets["train"].classes).to(where, memory_format=torch.channels_last)
    amounts = Augmentation().scaled(recipe.augment) if recipe.augment else None
    train = Loader(sets["train"], recipe.batch_size, where, recipe.size, amounts, "shuffled", seed, target=recipe.target, smoothing=recipe.smoothing)
    test = Loader(sets["test"], 128, where, recipe.size)
    seen = [weights_of(method, test)]  # (N, M) each

    def after_epoch(line: str) -> None:
        seen.append(weights_of(method, test))
        log(line)

    history = fit(method, train, test, recipe, seed, log=after_epoch).history
    cells, low = changed_cells(sets["test"], switches.side), moves_the_mouth(len(sets["test"]), place)
    apart = torch.stack([seen[-1][low].mean(0), seen[-1][~low].mean(0)]) if place == "either" else None
    weight = torch.stack(seen).mean(1)
    return Growth(place, seed, weight, cells, history.epochs[-1]["val_accuracy"], sets["test"], method, apart)


@torch.no_grad()
def weights_of(method: LNL, loader: Loader) -> Tensor:
    """The region weights of each face: float32 (N, M), on the CPU.

    Explained in: book/lnl.ipynb
    """
    was_training = method.training
    method.eval()
    weight = torch.cat([method.see(batch.image).weight.float().cpu() for batch in loader.epoch()])
    method.train(was_training)
    return weight
