"""One paper, one file; ``METHODS`` finds a method by its name."""

from fer_lib.errors import FerError
from fer_lib.methods.baseline import Baseline
from fer_lib.methods.clcl import CLCL
from fer_lib.methods.err_net import ERRNet
from fer_lib.methods.ll_fer import LLFER
from fer_lib.methods.lnl import LNL
from fer_lib.methods.method import Method
from fer_lib.methods.sr_fer import SRFER

METHODS: dict[str, type[Method]] = {kind.name: kind for kind in (Baseline, LLFER, SRFER, CLCL, LNL, ERRNet)}


def owner(row: str) -> str:
    """The name of the recognizer's method whose ablation table has this row.

    Raises:
        FerError: if there is none.

    Explained in: book/compare.ipynb
    """
    kinds = [kind for kind in METHODS.values() if not kind.starts_from]
    for kind in kinds:
        if row in kind.ROWS:
            return kind.name
    raise FerError(f"There is no recognizer '{row}': name a row of {', '.join(kind.name for kind in kinds)}.")


def find_method(name: str) -> type[Method]:
    """The method's class by its name.

    Raises:
        FerError: if there is no such method; the sentence lists those there are.

    Explained in: book/baseline.ipynb
    """
    if name not in METHODS:
        raise FerError(f"There is no method '{name}': choose one of {', '.join(METHODS)}.")
    return METHODS[name]
