"""The command line: ``python -m fer_lib run``, ``rerun``, ``records``, ``evaluate``, ``bench`` and ``data check``."""

import argparse
import os
import sys
from pathlib import Path

from safetensors import SafetensorError

from fer_lib.bench import bench, keep, table
from fer_lib.data import check_dataset
from fer_lib.errors import FerError
from fer_lib.kept import is_kept, load_recognizer
from fer_lib.ledger import export, ledger, promote
from fer_lib.methods import METHODS
from fer_lib.parameters import PROFILES, Parameters
from fer_lib.record import RESULTS, find_records
from fer_lib.rerun import rerun
from fer_lib.run import RUNS, run
from fer_lib.trained import evaluate, load_trained


def main(arguments: list[str] | None = None) -> int:
    """Run one command; 0 on success, 2 with one sentence on standard error otherwise.

    Explained in: book/baseline.ipynb
    """
    given = sys.argv[1:] if arguments is None else arguments
    cut = given.index("--") if "--" in given else len(given)
    parser, handed_on = _parser(), given[cut + 1 :]
    options = parser.parse_args(given[:cut], argparse.Namespace(snakemake=handed_on))
    if handed_on and options.call is not _rerun:
        parser.error(f"only rerun hands on what follows --: leave out {' '.join(handed_on)}")
    try:
        return options.call(options)
    except FerError as error:
        said = str(error)
    except SafetensorError as error:
        said = f"A file of weights failed ({error}): free some space, or delete the damaged file, and start again."
    print(f"fer_lib: {said}", file=sys.stderr)
    return 2


def _run(options: argparse.Namespace) -> int:
    knobs = {name: value for name, value in vars(options).items() if name in Parameters.model_fields}
    run(Parameters.of(knobs, overrides=" ".join(options.set)))
    return 0


def _rerun(options: argparse.Namespace) -> int:
    failed = rerun(options.sweep, Path(options.out), options.cores, tuple(options.snakemake))
    return 1 if failed else 0


def _records(options: argparse.Namespace) -> int:
    which = {name: getattr(options, name) for name in ("method", "row", "dataset", "profile") if getattr(options, name)}
    if not Path(options.folder).is_dir():
        raise FerError(f"There is no folder {options.folder}: give the one that holds the records.")
    found = find_records(options.folder, **which)
    found = {path: record for path, record in found.items() if record.stale()} if options.stale else found
    table = ledger(found.values())
    spare = ["device", "finished"] + ["overrides"] * (not any(table["overrides"]))
    print(table.drop(columns=spare).to_string(index=False) if found else "No such record.")
    for path in options.export:
        export(table, Path(path))
    if options.promote:
        print(f"{len(promote(found))} records copied to {os.path.relpath(RESULTS)}")
    return 0


def _evaluate(options: argparse.Namespace) -> int:
    path, out = Path(options.weights), _out_file(options.out)
    trained = load_recognizer(path) if is_kept(path) else load_trained(path)
    about, spoiled = trained.about, trained.recipe.degrade
    print(f"{about['method']} row {about['row']}, trained on {about['dataset']}, profile {about['profile']}, seed {about['seed']}", end="")
    print(f"; images degraded as in training: {spoiled}" if spoiled else "")
    found = evaluate(trained, options.dataset, options.data, options.split, options.fold, options.device)
    print(found)
    if out:
        keep(found.figures(about), out)
    return 0


def _bench(options: argparse.Namespace) -> int:
    out = _out_file(options.out)
    found = bench(options.device, options.quick, log=lambda line: print(line, file=sys.stderr, flush=True))
    print(table(found))
    if out:
        keep(found, out)
    return 0


def _out_file(name: str) -> Path | None:
    """Where to write, if a file is named; asked for before the work begins."""
    if name and not Path(name).parent.is_dir():
        raise FerError(f"There is no folder {Path(name).parent}: make it, or let --out name a file elsewhere.")
    return Path(name) if name else None


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
    handed_on = "What follows -- are options of snakemake, for example: rerun clcl --cores 2 -- --resources gpu=1"
    many = commands.add_parser("rerun", help="run what a sweep file asks for and is not finished", epilog=handed_on)
    many.add_argument("sweep", help="a name in sweeps/, or the path of a YAML file")
    many.add_argument("--out", default=str(RUNS), help="folder for records, notebooks and logs (default: runs)")
    many.add_argument("--cores", type=int, default=1, help="how many runs at once (default: 1)")
    many.set_defaults(call=_rerun)
    records = commands.add_parser("records", help="list, export and promote the records in a folder")
    records.add_argument("folder", help="for example runs, or book/results")
    for name in ("method", "row", "dataset", "profile"):
        records.add_argument(f"--{name}", default="", help=f"only records of this {name}")
    records.add_argument("--stale", action="store_true", help="only records that are out of date")
    records.add_argument("--export", action="append", default=[], metavar="FILE", help="also write a .csv or .parquet")
    records.add_argument("--promote", action="store_true", help="copy them to book/results, where the chapters read them")
    records.set_defaults(call=_records)
    worth = commands.add_parser("evaluate", help="measure a weights file on a split of a dataset, at batch 1 and 64, and with mirror images")
    worth.add_argument("weights", help="that a run has written, ending in .safetensors")
    worth.add_argument("--dataset", required=True, help="name of a layout on disk, for example ferplus")
    worth.add_argument("--data", required=True, help="folder or archive")
    worth.add_argument("--split", default="val", help="train, val or test (default: val)")
    worth.add_argument("--fold", type=int, default=0, help="where a dataset has no official split")
    worth.add_argument("--device", default="auto", help="auto, cpu, cuda")
    worth.add_argument("--out", default="", metavar="FILE", help="also write the figures to FILE, as JSON")
    worth.set_defaults(call=_evaluate)
    speed = commands.add_parser("bench", help="measure how fast this machine trains and predicts, against other code and its limit")
    speed.add_argument("--quick", action="store_true", help="less of everything: some minutes on two cores")
    speed.add_argument("--out", default="", metavar="FILE", help="also write the record to FILE, as JSON")
    speed.add_argument("--device", default="auto", help="auto, cpu, cuda")
    speed.set_defaults(call=_bench)
    data = commands.add_parser("data", help="look at a dataset on disk").add_subparsers(required=True, metavar="command")
    check = data.add_parser("check", help="count the faces and list what is wrong")
    check.add_argument("layout", help="name of the layout, for example ferplus")
    check.add_argument("path", help="folder or archive")
    check.add_argument("--save", metavar="FILE", help="also write the report to FILE, as JSON")
    check.set_defaults(call=_check)
    return parser


if __name__ == "__main__":
    sys.exit(main())
