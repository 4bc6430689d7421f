"""Execute the chapters and render the book: `make book` calls it.

jupyter-cache knows the code of a chapter, not the library that the chapter
calls. So the caches are dropped whenever the content of that library, of the
records, of the kept weights or of the pins has changed, and only then.
"""

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ("fer_lib/**/*.py", "book/results/**/*.json", "book/weights/SHA256SUMS", "requirements.lock")
MAX_MB = 3


def sources_hash(root: Path) -> str:
    """One hash over the names and contents of everything that a chapter's output depends on."""
    key = hashlib.sha256()
    for path in sorted(path for pattern in SOURCES for path in root.glob(pattern)):
        content = path.read_bytes()
        key.update(f"{path.relative_to(root).as_posix()}\0{len(content)}\0".encode() + content)
    return key.hexdigest()


def drop_stale_outputs(root: Path) -> bool:
    """Forget the executed chapters if they were executed with other sources; say whether."""
    build, current = root / "_build", sources_hash(root)
    stamp = build / ".sources"
    if stamp.is_file() and stamp.read_text() == current:
        return False
    stamp.unlink(missing_ok=True)
    for folder in (".jupyter_cache", ".doctrees"):
        shutil.rmtree(build / folder, ignore_errors=True)
    build.mkdir(exist_ok=True)
    stamp.write_text(current)
    return True


def missing_pages(root: Path) -> list[str]:
    """The pages of _toc.yml that have no rendered file."""
    from sphinx_external_toc.parsing import parse_toc_yaml

    html = root / "_build" / "html"
    return [name for name in parse_toc_yaml(root / "_toc.yml") if not (html / f"{name}.html").is_file()]


def heavy_pages(root: Path) -> list[str]:
    """The rendered pages that weigh more than ``MAX_MB`` with their pictures."""
    from bs4 import BeautifulSoup

    heavy = []
    for page in sorted((root / "_build" / "html" / "book").glob("*.html")):
        images = BeautifulSoup(page.read_text(encoding="utf-8"), "html.parser").select("img[src]:not([src^='data:'])")
        files = {page, *(page.parent / unquote(image["src"]) for image in images)}
        size = sum(file.stat().st_size for file in files if file.is_file()) / 1e6
        heavy += [f"{page.stem} ({size:.1f} MB)"] if size > MAX_MB else []
    return heavy


def build(root: Path) -> int:
    """Build; 0 only if no chapter raised, nothing warned, no page is missing and none is heavy."""
    if drop_stale_outputs(root):
        print("Every chapter will be executed: the library, the records, the kept weights or the pins are new.", flush=True)
    # Pages and reports of an earlier build would pass for pages and reports of this one.
    shutil.rmtree(root / "_build" / "html", ignore_errors=True)
    command = [Path(sys.executable).with_name("jupyter-book"), "build", ".", "-W", "-n", "--keep-going"]
    failed = subprocess.run(command, cwd=root).returncode
    if failed:
        # Sphinx says a warning once: a page it keeps would pass the next time.
        shutil.rmtree(root / "_build" / ".doctrees", ignore_errors=True)
        reports = "a chapter's traceback in _build/html/reports"
        print(f"The book was not built: the reasons are above, {reports}.", file=sys.stderr)
        return failed
    if missing := missing_pages(root):
        print(f"Pages of _toc.yml that were not rendered: {', '.join(missing)}", file=sys.stderr)
        return 1
    if heavy := heavy_pages(root):
        print(f"Pages of more than {MAX_MB} MB with their pictures: {', '.join(heavy)}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(build(ROOT))
