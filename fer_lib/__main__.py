"""The command line: ``python -m fer_lib run ...`` and ``python -m fer_lib data check ...``."""

import argparse
import sys
from pathlib import Path

from fer_lib.data import check_dataset
from fer_lib.errors import FerError
from fer_lib.methods import METHODS
from fer_lib.parameters import PROFILES, Parameters
from fer_lib.run import run


def main(arguments: list[str] | None = None) -> int:
    """Run one command; 0 on success, 2 with one sentence on standard error otherwise.

    Explained in: book/baseline.ipynb
    """
    options = _parser().parse_args(arguments)
    try:
        return options.call(options)
    except FerError as error:
        print(f"fer_lib: {error}", file=sys.stderr)
        return 2


def _run(options: argparse.Namespace) -> int:
    knobs = {name: value for name, value in vars(options).items() if name in Parameters.model_fields}
    run(Parameters.of(knobs, overrides=" ".join(options.set)))
    return 0


def _check(options: argparse.Namespace) -> int:
    report = check_dataset(options.layout, options.path)
    print(report)
    if options.save:
        report.save(Path(options.save))
    return 0 if report.usable else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m fer_lib", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="command")
    one = commands.add_parser("run", help="train and measure one row of one method, and write its record")
    one.add_argument("method", help=f"one of {', '.join(METHODS)}")
    for name, help_text in {
        "row": "row of the method's ablation table",
        "dataset": "faces, or the name of a layout on disk",
        "data": "path of the dataset",
        "profile": f"one of {', '.join(PROFILES)}",
        "fold": "which people are tested, where a dataset has no official split",
        "seed": "of the weights, the order and the augmentation",
        "device": "auto, cpu, cuda",
        "out": "folder for records and weights",
        "split": "val or test: what is measured on",
    }.items():
        default = Parameters.model_fields[name].default
        one.add_argument(f"--{name}", default=default, help=f"{help_text} (default: {default or 'see the book'})")
    one.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="change one parameter; may be repeated")
    one.set_defaults(call=_run)
    data = commands.add_parser("data", help="look at a dataset on disk").add_subparsers(required=True, metavar="command")
    check = data.add_parser("check", help="count the faces and list what is wrong")
    check.add_argument("layout", help="name of the layout, for example ferplus")
    check.add_argument("path", help="folder or archive")
    check.add_argument("--save", metavar="FILE", help="also write the report to FILE, as JSON")
    check.set_defaults(call=_check)
    return parser


if __name__ == "__main__":
    sys.exit(main())
