"""The playground as its reader has it: in a real JupyterLab, in Chromium, with a mouse and a file chooser."""

import os
import socket
import subprocess
import sys
import time
from urllib.error import URLError
from urllib.request import urlopen

import nbformat
import pytest
from kept_cases import kept
from PIL import Image
from playwright.sync_api import Page, expect, sync_playwright
from rendered import ROOT
from test_browser import CHROMIUM

from fer_lib.data.faces import PROTOTYPES
from fer_lib.emotions import Emotion
from fer_lib.looks import pretend_photo
from fer_lib.playground import drawn_face

FLAGS = ("--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", "--disable-gpu", "--disable-background-networking")
PATIENCE = 600_000  # milliseconds: the kernel imports torch first, and the machine may be busy
# All cells in the page, not only those in view.
SETTINGS = '{"@jupyterlab/notebook-extension:tracker": {"windowingMode": "none"}}'

pytestmark = pytest.mark.skipif(not CHROMIUM, reason="Chromium is not installed: the playground was not opened in a browser.")


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """The address of the notebook in a JupyterLab that serves a folder of its own, with recognizers to play with."""
    root = tmp_path_factory.mktemp("lab")
    notebook = nbformat.read(ROOT / "book" / "playground.ipynb", as_version=4)
    cell = next(cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", []))
    (root / "weights").mkdir()
    cell.source = f"weights = {str(kept(root / 'weights'))!r}"
    nbformat.write(notebook, root / "playground.ipynb")
    (root / "settings").mkdir()
    (root / "settings" / "overrides.json").write_text(SETTINGS)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = {"ServerApp.port": port, "ServerApp.root_dir": root, "ServerApp.token": "", "ServerApp.password": "", "ServerApp.allow_root": True}
    options |= {"LabApp.app_settings_dir": root / "settings", "LabApp.expose_app_in_browser": True}
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", *(f"--{name}={value}" for name, value in options.items())]
    paths = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    own = {name: str(root / name.lower()) for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR")}
    with open(root / "log", "w") as log:
        server = subprocess.Popen(command, env=os.environ | own | {"PYTHONPATH": paths}, stdout=log, stderr=log)
    try:
        _wait(f"http://127.0.0.1:{port}/api", server)
        yield f"http://127.0.0.1:{port}/lab/tree/playground.ipynb"
    finally:
        server.terminate()
        server.wait(60)


@pytest.fixture(scope="module")
def opened(lab):
    """The notebook with all cells run, and every address that the browser asked."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.set_default_timeout(PATIENCE)
        expect.set_options(timeout=PATIENCE)
        asked = []
        page.on("request", lambda request: asked.append(request.url))
        page.goto(lab)
        page.wait_for_function("window.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel")
        page.evaluate("void window.jupyterapp.commands.execute('notebook:run-all-cells')")
        expect(page.get_by_role("button", name="Choose a photo")).to_be_visible()
        yield page, asked
        browser.close()
    expect.set_options(timeout=5_000)


def test_boxes_and_links_are_shown_as_in_the_book(opened):
    page, _ = opened
    box = page.locator("aside", has_text="In this chapter")
    expect(box).to_be_visible()
    expect(box.get_by_role("link", name="faces.ipynb")).to_be_visible()


def test_a_slider_moves_the_face_and_the_bars(opened):
    page, _ = opened
    face, bars = page.get_by_alt_text("The face as you have moved it"), page.locator("table.prediction").first
    before, shown = face.get_attribute("src"), bars.inner_html()
    page.locator(".widget-hslider", has_text="AU4 brow lowerer").locator(".noUi-handle").press("End")
    expect(face).not_to_have_attribute("src", before)
    expect(bars).not_to_have_js_property("innerHTML", shown)
    assert bars.locator("tr").count() == 8


def test_a_face_is_darkened_and_read_again(opened):
    page, _ = opened
    restored = page.get_by_alt_text("LL-FER A7, drawn faces: restored").first
    before = restored.get_attribute("src")
    page.locator(".widget-hslider", has_text="light").first.locator(".noUi-handle").press("ArrowRight")
    expect(restored).not_to_have_attribute("src", before)


def test_an_uploaded_photo_is_read(opened, tmp_path):
    page, _ = opened
    face = pretend_photo(drawn_face(40, PROTOTYPES[Emotion.SURPRISE]))
    Image.fromarray(face.permute(1, 2, 0).numpy()).save(tmp_path / "face.png")
    with open(tmp_path / "face.png", "ab") as file:
        file.write(bytes(15_000_000))  # of no meaning: JupyterLab left alone drops what is above 10 MB
    before = page.locator("table.prediction").count()
    choose(page, tmp_path / "face.png")
    expect(page.get_by_text("A face was found")).to_be_visible()
    photo = page.get_by_alt_text("Your photo, with two marks for the eyes")
    expect(photo).to_be_visible()
    card = page.get_by_alt_text("Plain R0, photographs: given")
    expect(card).to_be_visible()
    assert page.locator("table.prediction").count() == before + 8
    source = card.get_attribute("src")
    page.locator(".widget-hslider", has_text="eyes: apart").locator(".noUi-handle").press("PageUp")
    expect(card).not_to_have_attribute("src", source)


def test_a_text_file_gets_one_sentence(opened, tmp_path):
    page, _ = opened
    (tmp_path / "notes.txt").write_text("only words")
    choose(page, tmp_path / "notes.txt")
    said = page.get_by_role("alert").filter(has_text="notes.txt is no photo that can be read here")
    expect(said).to_be_visible()
    assert said.inner_text().endswith("choose a photo saved as PNG or JPEG.")
    expect(page.get_by_alt_text("Your photo, with two marks for the eyes")).not_to_be_visible()


def test_nobody_else_was_asked(opened, lab):
    _, asked = opened
    here = lab[: lab.index("/lab")]
    assert asked and not [url for url in asked if not url.startswith((here, "data:", "blob:"))]


def choose(page: Page, path: os.PathLike) -> None:
    """Upload a file as a reader does."""
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Choose a photo").click()
    chooser.value.set_files(path)


def _wait(address: str, server: subprocess.Popen) -> None:
    for _ in range(PATIENCE // 1000):
        assert server.poll() is None, "JupyterLab ended before it had begun."
        try:
            urlopen(address, timeout=5).close()
            return
        except (URLError, OSError):
            time.sleep(1)
    raise TimeoutError(address)
