"""Small kept recognizers of every method, untrained, for the tests that play with them."""

from pathlib import Path

import torch

from fer_lib.kept import keep, recognizer_path, write_sums
from fer_lib.parameters import Parameters
from fer_lib.trained import Trained, rebuild

ROWS = (("baseline", "R0"), ("ll_fer", "A7"), ("sr_fer", "S5"), ("clcl", "B4"), ("err_net", "E5"), ("lnl", "N4"))


def untrained(method: str, row: str, dataset: str = "faces") -> Trained:
    """A network as a run would have left it, but for the training."""
    parameters = Parameters(method=method, row=row, profile="smoke", overrides="size=32")
    about = {"method": method, "row": row, "dataset": dataset, "profile": "smoke", "seed": 0}
    about |= {"parameters": parameters.meant(), "classes": 8}
    torch.manual_seed(0)
    network, recipe = rebuild(about)
    return Trained(network.eval(), recipe, about)


def kept(folder: Path, rows=(*ROWS, ("baseline", "R0", "ferplus"), ("ll_fer", "A7", "ferplus"))) -> Path:
    """Such networks, kept in ``folder``."""
    for which in rows:
        keep(untrained(*which), recognizer_path(*which[:2], which[2] if len(which) > 2 else "faces", folder))
    write_sums(folder)
    return folder
