"""Become a command, unless another process is it already: ``python tools/alone.py RECORD COMMAND ...``

A batch that was killed may leave a job behind, above all on a cluster. The next batch's job for the same
record waits here until that one has ended, and does nothing if it has made the record.
"""

import fcntl
import os
import sys
from contextlib import suppress
from pathlib import Path


def main(record: str, *command: str) -> None:
    lock = open(Path(record).with_suffix(".yaml"), "a")
    # Some network disks know no locks.
    with suppress(OSError):
        fcntl.flock(lock, fcntl.LOCK_EX)
    if not Path(record).exists():
        # The command keeps the lock as long as it lives.
        os.set_inheritable(lock.fileno(), True)
        os.execvp(command[0], command)


if __name__ == "__main__":
    main(*sys.argv[1:])
