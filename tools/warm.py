"""A process that has imported what every run needs, and becomes a run by a fork: ``python tools/warm.py SOCKET``

A batch starts it and ends it, and its jobs ask it (:func:`ask`). It does not know ``fer_lib``, whose sources may change
while a batch is at work; only what is installed is imported. It uses one thread, as every run of a batch.
"""

import json
import os
import signal
import socket
import sys
import traceback
import warnings
from contextlib import suppress
from importlib import import_module
from select import select
from threading import Thread

WHERE = "FER_LIB_WARM"
IMPORTED = (
    "in_process",
    "papermill.execute",
    "matplotlib.pyplot",
    "matplotlib_inline.backend_inline",
    "pandas.io.formats.style",
    "torch._dynamo",
    "timm",
    "kornia",
    "safetensors.torch",
    "scipy.stats",
    "sklearn.linear_model",
    "sklearn.model_selection",
    "torchmetrics.functional.image",
)


def ask(arguments: list[str]) -> int | None:
    """Let the batch's warm process execute a job, and wait for it.

    It writes where this process writes, and ends if this process ends.

    Returns:
        The job's exit status; ``None`` if there is no such process (any more), as on another machine or in a job of Slurm.
    """
    path = os.environ.get(WHERE)
    if not path or "SLURM_JOB_ID" in os.environ:
        return None
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
        try:
            connection.connect(path)
            socket.send_fds(connection, [json.dumps([os.getcwd(), arguments]).encode()], [1, 2])
            status = connection.recv(1)
        except OSError:
            return None
    if not status:
        print("The run was killed: most often memory was used up, so run fewer at once (--cores).", file=sys.stderr)
    return status[0] if status else 1


def serve(path: str) -> None:
    """Fork a job for everyone who asks, until standard input ends; then wait for those at work."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # A library keeps a thread for its memory, which knows what a fork is.
    warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(path)
        listener.listen(1000)
        for name in IMPORTED:
            import_module(name)
        while 0 not in (ready := select([listener, 0], [], [])[0]):
            connection, _ = ready[0].accept()
            if os.fork() == 0:
                listener.close()
                _become(connection)
            connection.close()
            with suppress(ChildProcessError):
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass
    with suppress(ChildProcessError):
        while True:
            os.wait()


def _become(connection: socket.socket) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    message, (output, errors), *_ = socket.recv_fds(connection, 2**16, 2)
    os.dup2(output, 1)
    os.dup2(errors, 2)
    Thread(target=_end_with, args=(connection,), daemon=True).start()
    status = 1
    try:
        folder, arguments = json.loads(message)
        os.chdir(folder)
        import_module("job").execute(*arguments)
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        connection.send(bytes([status]))
        os._exit(status)


def _end_with(connection: socket.socket) -> None:
    """End this process when the one that asked for it has gone."""
    connection.recv(1)
    os._exit(1)


if __name__ == "__main__":
    serve(sys.argv[1])
