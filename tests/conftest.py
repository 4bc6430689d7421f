"""Small things that many tests need."""

import pytest
import torch
from rendered import whole_book
from trivial_book import write_book

from fer_lib import sweep
from fer_lib.data.faceset import FaceSet


@pytest.fixture
def blobs():
    """A FaceSet that any network can learn: the class is where the bright spot is."""

    def make(count: int = 64, split: str = "train", size: int = 32, classes: int = 8, channels: int = 3) -> FaceSet:
        generator = torch.Generator().manual_seed({"train": 1, "val": 2, "test": 3}[split])
        images = torch.randint(0, 120, (count, channels, size, size), generator=generator, dtype=torch.uint8)
        labels = torch.arange(count) % classes
        for i, k in enumerate(labels.tolist()):
            row, column = divmod(k, 4)
            images[i, :, 2 + row * 16 : 12 + row * 16, column * 8 : column * 8 + 8] = 250
        votes = torch.full((count, classes), 0.02)
        votes[torch.arange(count), labels] = 1 - 0.02 * (classes - 1)
        return FaceSet(images, labels, "blobs", split, f"blobs-{split}-{count}", classes, votes=votes)

    return make


@pytest.fixture
def keep_threads():
    """Give the number of torch threads back after a test that changes it."""
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def out(tmp_path):
    """A folder of runs."""
    return tmp_path / "runs"


@pytest.fixture
def place(tmp_path, monkeypatch, out):
    """Writes a sweep, and the trivial chapter in place of all chapters; returns the sweep's path."""

    def make(text: str, before: str = "") -> str:
        monkeypatch.setattr(sweep, "CHAPTERS", write_book(tmp_path / "book", out, before))
        path = tmp_path / "mine.yaml"
        path.write_text(text)
        return str(path)

    return make


@pytest.fixture(scope="session")
def html(tmp_path_factory):
    """The whole book, rendered once for every test that looks at it."""
    return whole_book(tmp_path_factory.mktemp("book"))
