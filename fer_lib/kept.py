"""Small trained networks that come with the book: ``book/weights``, each described in its model card."""

import hashlib
import json
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load, save_file
from torch import Tensor, nn

from fer_lib.errors import FerError
from fer_lib.methods import Method, find_method
from fer_lib.nets.backbone import Backbone
from fer_lib.parameters import Parameters
from fer_lib.run import WEIGHTS
from fer_lib.trained import Trained, rebuild

SUMS = "SHA256SUMS"  # one line a file, as sha256sum writes and checks it
WHOLE = "-whole.safetensors"
SCALE = "/scale"
# Parts of methods that training alone needs: they are not kept.
TRAINING_ONLY = ("reference", "discriminator")


def load_restorer(method: str, row: str) -> nn.Module:
    """The restorer of a row, trained on drawn faces at ``quick`` with seed 0; a control that learns nothing needs no file.

    Args:
        method: ``ll_fer`` or ``sr_fer``.
        row: of its ablation table.

    Returns:
        A network in evaluation mode: degraded image (B, C, h, w) in [0, 1] -> (B, 3, 64, 64), before it is cut to [0, 1].

    Raises:
        FerError: if the row is unknown, or the book has no weights of it.

    Explained in: book/ll_fer.ipynb
    """
    recipe, switches = Parameters(method=method, row=row, profile="quick").resolve()
    backbone = Backbone(recipe.backbone, recipe.stem_stride, size=recipe.size)
    restorer = find_method(method)(switches, backbone, 8).restorer.eval()
    if not restorer.state_dict():
        return restorer
    path = WEIGHTS / f"{method}-{row}.safetensors"
    try:
        restorer.load_state_dict(_as_float(load(_read(path))))
    except (SafetensorError, RuntimeError) as error:
        raise _damaged(path) from error
    return restorer


def recognizer_path(method: str, row: str, dataset: str, folder: Path = WEIGHTS) -> Path:
    """Where a whole kept recognizer lies.

    Explained in: book/playground.ipynb
    """
    return folder / f"{method}-{row}-{dataset}{WHOLE}"


def kept_recognizers(folder: Path = WEIGHTS) -> list[Path]:
    """The whole recognizers that lie in a folder, by name; none where there is none.

    Explained in: book/playground.ipynb
    """
    return sorted(folder.glob(f"*{WHOLE}"))


def load_recognizer(path: Path) -> Trained:
    """A whole kept network, without the parts that training alone needs; its weights are whole numbers of 8 bits, scaled.

    Raises:
        FerError: if there is no such file, or it is damaged, or it is not the one that was kept: beside it lies a ``SUMS`` with another checksum.

    Explained in: book/playground.ipynb
    """
    data = _read(path)
    try:
        with safe_open(path, "pt") as file:
            about = json.loads(file.metadata()["run"])
        method, recipe = rebuild(about)
        _without_training(method).load_state_dict(_as_float(load(data)))
    except (SafetensorError, RuntimeError, ValueError, KeyError, TypeError) as error:
        raise _damaged(path) from error
    return Trained(method.eval(), recipe, about)


def is_kept(path: Path) -> bool:
    """Whether a weights file, whatever its name, was written by :func:`keep`; False of what cannot be read.

    Explained in: book/reruns.md
    """
    try:
        with safe_open(path, "pt") as file:
            return any(name.endswith(SCALE) for name in file.keys())  # noqa: SIM118
    except (OSError, SafetensorError):
        return False


def keep(trained: Trained, path: Path) -> None:
    """Write a whole network for :func:`load_recognizer`; :func:`write_sums` has to follow.

    Matrices and kernels are kept as whole numbers from -127 to 127, with one scale for each output channel, the
    largest size of a weight there by 127; all else as floats of 16 bits.

    Raises:
        FerError: if a weight is no finite number of 16 bits.

    Explained in: book/playground.ipynb
    """
    weights = _rounded(_without_training(trained.method).state_dict())
    save_file(weights, path, {"run": json.dumps(trained.about)})


def write_sums(folder: Path) -> None:
    """Note the checksum of every weights file in a folder, in ``SUMS``; ``sha256sum -c SHA256SUMS`` checks them, too.

    Explained in: book/playground.ipynb
    """
    files = sorted(folder.glob("*.safetensors"))
    (folder / SUMS).write_text("".join(f"{_sum(path.read_bytes())}  {path.name}\n" for path in files))


def _without_training(method: Method) -> Method:
    for name in TRAINING_ONLY:
        if hasattr(method, name):
            delattr(method, name)
    return method


def _rounded(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    small = {}
    for name, x in weights.items():
        if not x.is_floating_point():
            small[name] = x
            continue
        if not x.half().isfinite().all():
            raise FerError(f"The weights {name} are too large for 16 bits: train anew with more weight_decay, or keep another run.")
        if x.ndim < 2:
            small[name] = x.half()
            continue
        scale = x.abs().amax(tuple(range(1, x.ndim)), keepdim=True).float().clamp(min=1e-20) / 127
        small |= {name: (x / scale).round().to(torch.int8).contiguous(), name + SCALE: scale}
    return small


def _as_float(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    whole = {name: x for name, x in weights.items() if not name.endswith(SCALE)}
    for name, x in whole.items():
        if name + SCALE in weights:
            whole[name] = x.float() * weights[name + SCALE]
        elif x.is_floating_point():
            whole[name] = x.float()
    return whole


def _sum(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _read(path: Path) -> bytes:
    """The bytes of a kept file, if they are those that were kept; where no ``SUMS`` lies beside it, nobody can say."""
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise FerError(f"The book has no weights {path.name}: choose a row that lies in {path.parent}.") from error
    sums = path.with_name(SUMS)
    if not sums.is_file():
        return data
    listed = dict(reversed(line.split(maxsplit=1)) for line in sums.read_text().splitlines())
    if listed.get(path.name) != _sum(data):
        raise _damaged(path)
    return data


def _damaged(path: Path) -> FerError:
    return FerError(f"Weights file {path} is damaged or of another network: fetch it again, and {SUMS} beside it.")
