"""The chapter on expression residuals, run as its last command has it: on pairs of photographs, here made-up ones."""

from pathlib import Path

import matplotlib.pyplot as plt
import nbformat
from rendered import ROOT


def test_the_chapter_draws_its_figures_of_pairs_of_photographs(tmp_path, monkeypatch):
    monkeypatch.setenv("FER_LIB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("MPLBACKEND", "agg")
    monkeypatch.syspath_prepend(Path(__file__).parent / "data")
    from made_up import write
    from made_up_pairs import london

    tree = str(write(tmp_path / "tree", london()[0]))
    asked = {"row": "E5-pixels", "dataset": "london", "data": tree, "profile": "smoke", "split": "test", "out": str(tmp_path), "overrides": "size=32"}
    shown, made = {}, {}
    for cell in nbformat.read(ROOT / "book" / "err_net.ipynb", as_version=4).cells:
        if cell.cell_type == "code":
            exec(compile(cell.source, cell.id, "exec"), made)
            made |= asked if "parameters" in cell.metadata.get("tags", []) else {}
            shown[cell.id] = [len(figure.axes) for figure in map(plt.figure, plt.get_fignums())]
            plt.close("all")
    assert made["record"].dataset == "london" and made["record"].mechanism["psnr_estimate"] > 0
    people = len(made["chosen"])
    assert people == int((made["batch"].label > 0).sum()) > 1
    assert shown["cell-11"] == [6 * people + 1]  # six lines of pictures, and the scale of the signed ones
    assert shown["cell-14"] == []  # no arrows: its landmarks are of another scheme
