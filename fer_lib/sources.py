"""Which code a result rests on, as one digest: a record made by other code is stale."""

import ast
import hashlib
import io
import tokenize
from functools import cache
from pathlib import Path

import fer_lib
from fer_lib.data import DATASETS
from fer_lib.methods import owner

LIBRARY = Path(fer_lib.__file__).parent
TABLE, MAKER = "ROWS", "_rows"


def sources(method: str, dataset: str, recognizer: str = "", modules: tuple[str, ...] = ()) -> str:
    """Digest of the modules that decide a run's result; comments and docstrings do not count.

    Taken in are ``run.py`` and further ``modules``, the method, that of the row ``recognizer`` it begins
    with, its dataset's module, the training loop and the metrics, with all modules of ``fer_lib`` that
    these import. Other methods and layouts, figures and the command line are not: editing them leaves a
    record valid. Nor is a method's table ``ROWS``, or the function ``_rows`` that makes it: a record holds
    its row's parameters itself.

    Explained in: book/status.md
    """
    reader = DATASETS[dataset].module if dataset in DATASETS else f"fer_lib.data.{dataset}"
    methods = [method, *([owner(recognizer)] if recognizer else [])]
    todo = [_file(name) for name in (*modules, *(f"fer_lib.methods.{name}" for name in methods), reader, "fer_lib.train", "fer_lib.evaluate")]
    run = LIBRARY / "run.py"
    seen: dict[Path, str] = {run: _bare(run.read_text())}
    while todo:
        path = todo.pop()
        if path not in seen and path.is_file() and path.name != "__init__.py":
            text = path.read_text()
            seen[path] = _bare(text)
            todo += map(_file, _imports(text))
    text = "\n".join(f"{path.relative_to(LIBRARY)}\n{seen[path]}" for path in sorted(seen))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _file(module: str) -> Path:
    return LIBRARY.parent / (module.replace(".", "/") + ".py")


@cache
def _imports(text: str) -> set[str]:
    """What a module imports from ``fer_lib``."""
    names = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("fer_lib"):
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names if alias.name.startswith("fer_lib")}
    return names


@cache
def _bare(text: str) -> str:
    """The code without comments, docstrings, tables of rows and blank lines."""
    lines = text.splitlines()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            row, column = token.start
            lines[row - 1] = lines[row - 1][:column]
    for node in ast.walk(ast.parse(text)):
        for part in _left_out(node):
            lines[part.lineno - 1 : part.end_lineno] = [""] * (part.end_lineno - part.lineno + 1)
    return "\n".join(line.rstrip() for line in lines if line.strip())


def _left_out(node: ast.AST) -> list[ast.AST]:
    """The docstring of a module, class or function, and a method's table of rows."""
    parts = [node] if isinstance(node, ast.FunctionDef) and node.name == MAKER else []
    if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
        parts.append(node.body[0])
    if isinstance(node, ast.ClassDef):
        parts += [x for x in node.body if isinstance(x, ast.Assign) and ast.unparse(x.targets[0]) == TABLE]
    return parts
