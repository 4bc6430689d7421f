"""Small trained restorers that come with the book: ``book/weights``, each described in its model card."""

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from fer_lib.errors import FerError
from fer_lib.methods import find_method
from fer_lib.nets.backbone import Backbone
from fer_lib.parameters import Parameters
from fer_lib.run import WEIGHTS


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
        restorer.load_state_dict({name: tensor.float() for name, tensor in load_file(path).items()})
    except FileNotFoundError as error:
        raise FerError(f"The book has no weights {path.name}: choose a row that lies in {path.parent}.") from error
    except (SafetensorError, RuntimeError) as error:
        raise FerError(f"Weights file {path} is damaged or of another network: fetch it again.") from error
    return restorer
