"""A folder of records as one table: list, filter, export, and promote to the book."""

import os
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from fer_lib.errors import FerError
from fer_lib.record import RESULTS, Record, record_path, write_record

FIELDS = ("method", "row", "dataset", "profile", "split", "fold", "seed")


def ledger(records: Iterable[Record]) -> pd.DataFrame:
    """One line a record: which run, overrides, accuracy and macro recall in percent, cost, device, whether it is stale.

    Explained in: book/reruns.md
    """
    lines = [
        {name: getattr(r, name) for name in FIELDS}
        | {"overrides": r.parameters.get("overrides", "")}
        | {name: round(100 * r.metrics[name], 2) for name in ("accuracy", "macro_recall")}
        | {"seconds": r.cost["seconds"], "device": r.device, "stale": r.stale(), "finished": r.finished}
        for r in records
    ]
    columns = [*FIELDS, "overrides", "accuracy", "macro_recall", "seconds", "device", "stale", "finished"]
    return pd.DataFrame(lines, columns=columns)


def export(table: pd.DataFrame, path: Path) -> None:
    """Write a table as CSV or parquet, by the ending of ``path``.

    Raises:
        FerError: for another ending, or if the file cannot be written.

    Explained in: book/reruns.md
    """
    writers = {".csv": lambda part: table.to_csv(part, index=False), ".parquet": lambda part: table.to_parquet(part)}
    if path.suffix not in writers:
        raise FerError(f"{path} cannot be exported: let its name end in {' or '.join(writers)}.")
    part = path.with_name(path.name + ".part")
    try:
        writers[path.suffix](part)
        os.replace(part, path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise FerError(f"{path} could not be written ({error.strerror}): free space or choose another folder.") from error


def promote(records: dict[Path, Record], results: Path = RESULTS) -> list[Path]:
    """Copy records to where the chapters read them.

    Raises:
        FerError: if one is stale, or is of a run with overrides: a row of the book is what its name says.

    Explained in: book/reruns.md
    """
    for path, record in records.items():
        if record.stale():
            raise FerError(f"{path} is stale: run it again before it is promoted.")
        if record.parameters.get("overrides"):
            raise FerError(f"{path} has overrides ({record.parameters['overrides']}): leave it out (--row, --profile ...).")
    return [write_record(record, record_path(results, record.method, path.stem)) for path, record in records.items()]
