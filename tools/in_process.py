"""A papermill engine without a kernel: the cells are executed in this process, what they print goes where it goes.

A kernel is a second process to start, to talk to and to end, for nothing that a run without a reader needs.
"""

import sys
from contextlib import contextmanager
from typing import Any, TextIO

from IPython.core.displayhook import DisplayHook
from IPython.core.displaypub import DisplayPublisher
from IPython.core.interactiveshell import InteractiveShell
from nbformat.v4 import new_output
from papermill.engines import Engine
from traitlets import List, Type
from traitlets.config import Config


class InProcessEngine(Engine):
    """For ``papermill.execute_notebook(..., engine_name=...)``, once for a process."""

    @classmethod
    def execute_managed_notebook(cls, nb_man, kernel_name, **options) -> None:
        """Execute the cells one after the other, up to the first that raises."""
        quiet = Config({"HistoryManager": {"enabled": False}, "InteractiveShell": {"colors": "nocolor"}})
        shell = _Shell.instance(config=quiet)
        shell.enable_matplotlib("inline")
        for index, cell in enumerate(nb_man.nb.cells):
            nb_man.cell_start(cell, index)
            failed = cell.cell_type == "code" and not shell.execute(cell)
            if failed:
                nb_man.cell_exception(cell, cell_index=index)
            nb_man.cell_complete(cell, cell_index=index)
            if failed:
                break


class _Publisher(DisplayPublisher):
    def publish(self, data: dict, metadata: dict | None = None, **options) -> None:
        self.shell.outputs.append(new_output("display_data", data, metadata=metadata or {}))


class _Hook(DisplayHook):
    def __call__(self, result: Any = None) -> None:
        if result is not None and not self.quiet():
            data, metadata = self.shell.display_formatter.format(result)
            count = self.shell.execution_count
            self.shell.outputs.append(new_output("execute_result", data, metadata=metadata, execution_count=count))


class _Shell(InteractiveShell):
    displayhook_class = Type(_Hook)
    display_pub_class = Type(_Publisher)
    outputs = List()

    def execute(self, cell) -> bool:
        """Execute a cell and fill its outputs; whether all went well."""
        self.outputs = []
        cell.execution_count = self.execution_count
        with self._heard("stdout"), self._heard("stderr"):
            result = self.run_cell(cell.source, store_history=True)
        cell.outputs = self.outputs
        return result.success

    def enable_gui(self, gui: str | None = None) -> None:
        """There is none."""

    def _showtraceback(self, etype: type, evalue: BaseException, stb: list[str]) -> None:
        self.outputs.append(new_output("error", ename=etype.__name__, evalue=str(evalue), traceback=stb))

    @contextmanager
    def _heard(self, name: str):
        stream = getattr(sys, name)
        setattr(sys, name, _Heard(stream, name, self.outputs))
        try:
            yield
        finally:
            setattr(sys, name, stream)


class _Heard:
    """A stream whose text is also an output."""

    def __init__(self, stream: TextIO, name: str, outputs: list):
        self._stream, self._name, self._outputs = stream, name, outputs

    def write(self, text: str) -> int:
        last = self._outputs[-1] if self._outputs else {}
        if last.get("name") != self._name:
            self._outputs.append(last := new_output("stream", name=self._name, text=""))
        last["text"] += text
        return self._stream.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
