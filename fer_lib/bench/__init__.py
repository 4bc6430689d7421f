"""How fast: ``python -m fer_lib bench`` measures the library against the public recipe and against the machine."""

from fer_lib.bench.report import Plan, bench, keep, table

__all__ = ["Plan", "bench", "keep", "table"]
