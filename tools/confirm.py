"""Tell records that are stale in name from those that are stale in fact: python tools/confirm.py BASE

BASE is a commit at which the records were valid. Each (method, row, dataset) of the stale records is
run at ``smoke`` by BASE's code and by today's. If weights, history, predictions and figures agree to the
last bit, the records get today's digest, and today's commit under ``confirmed``; else they stay stale.
A parameter that BASE did not know is added with the value that it has in that row today.
``--set`` changes a parameter in both runs, for instance ``precision=fp32`` where the two would choose differently.
"""

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from safetensors.torch import load_file

ROOT = Path(__file__).resolve().parent.parent
COMPARED = ("fingerprint", "history", "metrics", "labels", "predicted", "chosen", "mechanism")
Key = tuple[str, str, str]


def outcome(key: Key, data: str, out: str, changed: str) -> dict:
    """Run one row at ``smoke`` with the ``fer_lib`` that is found first, and digest all that came of it."""
    from fer_lib.parameters import Parameters
    from fer_lib.record import sources
    from fer_lib.run import run

    method, row, dataset = key
    # More faces than are evaluated at once: figures that depend on the batches must show.
    small = f"train_images=96 val_images=100 test_images=100 {changed}"
    done = run(Parameters(method=method, row=row, dataset=dataset, data=data, profile="smoke", out=out, overrides=small), log=lambda _: None)
    record = json.loads(done.path.read_text())
    for epoch in record["history"]:
        del epoch["seconds"]
    parts = {name: hashlib.sha256(json.dumps(record[name]).encode()).hexdigest() for name in COMPARED}
    weights = load_file(done.path.with_suffix(".safetensors"))
    parts["weights"] = hashlib.sha256(b"".join(name.encode() + weights[name].numpy().tobytes() for name in sorted(weights))).hexdigest()
    made_by = sources(method, dataset, *filter(None, [record["parameters"].get("recognizer")]))
    return {"sources": made_by, "parameters": record["parameters"], **parts}


def outcomes(tree: Path, keys: list[Key], data: dict[str, str], changed: str) -> dict[Key, dict]:
    """What the code in ``tree`` makes of each row."""
    with tempfile.TemporaryDirectory() as out:
        command = [sys.executable, __file__, "--child", json.dumps([(key, data.get(key[2], ""), out, changed) for key in keys])]
        env = {**os.environ, "PYTHONPATH": str(tree), "OMP_NUM_THREADS": "1"}
        lines = subprocess.run(command, cwd=tree, env=env, stdout=subprocess.PIPE, text=True, check=True).stdout
    return {key: json.loads(line) for key, line in zip(keys, lines.splitlines(), strict=True)}


def confirm(base: str, folder: Path, data: dict[str, str], changed: str) -> int:
    """Renew what agrees, say what does not; returns how many records stay stale."""
    from fer_lib.machine import commit
    from fer_lib.record import find_records, write_record

    stale = {path: record for path, record in find_records(folder).items() if record.stale()}
    keys = sorted({(r.method, r.row, r.dataset) for r in stale.values() if r.dataset == "faces" or r.dataset in data})
    with tempfile.TemporaryDirectory() as tree:
        subprocess.run(["git", "-C", str(ROOT), "worktree", "add", "--detach", "--quiet", tree, base], check=True)
        try:
            with ThreadPoolExecutor(2) as pool:
                before, after = pool.map(lambda code: outcomes(code, keys, data, changed), (Path(tree), ROOT))
        finally:
            subprocess.run(["git", "-C", str(ROOT), "worktree", "remove", "--force", tree], check=True)
    left = 0
    for path, record in stale.items():
        key = (record.method, record.row, record.dataset)
        if key not in before:
            reason = f"not tried: give --data {record.dataset}=PATH"
        elif record.sources != before[key]["sources"]:
            reason = f"was not valid at {base} either"
        else:
            differ = [name for name in (*COMPARED, "weights") if before[key][name] != after[key][name]]
            old, new = (x[key]["parameters"] for x in (before, after))
            if any(new.get(name) != value for name, value in old.items()):
                differ.append("parameters")
            added = {name: value for name, value in new.items() if name not in old}
            reason = f"now differs in {', '.join(differ)}" if differ else ""
        if reason:
            left += 1
            print(f"{path.stem} stays stale: {reason}")
        else:
            renewed = {"sources": after[key]["sources"], "confirmed": commit(), "parameters": record.parameters | added}
            write_record(record.model_copy(update=renewed), path)
    print(f"{len(stale) - left} of {len(stale)} stale records confirmed")
    return left


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("base", help="a commit at which the records were valid")
    parser.add_argument("folder", nargs="?", default=ROOT / "book" / "results", type=Path, help="of the records")
    parser.add_argument("--data", action="append", default=[], metavar="DATASET=PATH", help="where a dataset lies")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="change a parameter in both runs")
    options = parser.parse_args()
    data = dict(x.split("=", 1) for x in options.data)
    return 1 if confirm(options.base, options.folder, data, " ".join(options.set)) else 0


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        for one in json.loads(sys.argv[2]):
            print(json.dumps(outcome(*one)), flush=True)
    else:
        sys.exit(main())
