"""One run of a batch, for the Snakefile: ``python tools/job.py RECORD CHAPTER NOTEBOOK PARAMETERS``

A batch that was killed may leave a job behind, above all on a cluster. The next batch's job for the same
record waits here until that one has ended, and does nothing if it has made the record.
"""

import fcntl
import os
import sys
from contextlib import suppress
from pathlib import Path

import warm


def execute(record: str, chapter: str, notebook: str, parameters: str) -> None:
    """Have papermill execute the chapter with the parameters of a YAML file, unless the record is there.

    Raises:
        papermill.exceptions.PapermillExecutionError: if a cell raises.
    """
    with open(Path(record).with_suffix(".yaml"), "a") as lock:
        # Some network disks know no locks.
        with suppress(OSError):
            fcntl.flock(lock, fcntl.LOCK_EX)
        if Path(record).exists():
            return
        sys.stdout, sys.stderr = (open(number, "w", 1, "utf-8", "replace", closefd=False) for number in (1, 2))
        import papermill
        import yaml
        from papermill.engines import papermill_engines

        from in_process import InProcessEngine

        sys.path[:] = [place for place in sys.path if os.path.realpath(place) != os.path.dirname(os.path.realpath(__file__))]
        papermill_engines.register("in_process", InProcessEngine)
        given = yaml.safe_load(Path(parameters).read_text())
        papermill.execute_notebook(chapter, notebook, given, engine_name="in_process", progress_bar=False)


if __name__ == "__main__":
    status = warm.ask(sys.argv[1:])
    if status is None:
        status = execute(*sys.argv[1:])
    sys.exit(status)
