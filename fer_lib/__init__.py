"""Reading facial expressions under difficult conditions: the library under the book.

The rooms, from the ground up (imports go down only): ``emotions`` and
``errors``; ``data``; ``nets``; ``methods``; ``train`` and ``evaluate``;
``record`` and ``run``; ``explain`` and ``show``.
"""

__version__ = "0.1.0"
