"""The one exception that the library raises on purpose."""


class FerError(Exception):
    """Something is wrong that the reader can mend: one sentence says what, where and how.

    Raised for bad input (a missing file, a wrong layout, an unknown name or
    label, a loss that is not a number). The command line prints the sentence
    without a traceback, and so does a notebook.

    Explained in: book/troubleshooting.md
    """

    def _render_traceback_(self) -> list[str]:
        """IPython calls this instead of drawing the stack."""
        return [f"{type(self).__name__}: {self}"]
