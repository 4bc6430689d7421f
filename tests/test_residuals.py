"""What is drawn is what was given: faces in their places, signs in their colours, lengths in their cells."""

import matplotlib
import matplotlib.pyplot as plt
import pytest
import torch

from fer_lib import residuals
from fer_lib.show import COLOURS

matplotlib.use("Agg")


@pytest.fixture(autouse=True)
def close():
    yield
    plt.close("all")


def test_pictures_keep_their_colours_and_residuals_have_signs():
    face, residual = torch.rand(2, 3, 8, 8), torch.zeros(2, 3, 8, 8)
    residual[0, :, 2, 3], residual[1, :, 4, 5] = -0.5, 0.25
    figure = residuals.removal_grid({"face": face, "removed": residual}, ["a", "b"], ["removed"])
    assert [ax.get_title() for ax in figure.axes[:2]] == ["a", "b"] and figure.axes[2].get_ylabel() == "removed"
    assert abs(figure.axes[0].images[0].get_array() - face[0].permute(1, 2, 0).numpy()).max() < 1e-6
    shown = figure.axes[2].images[0]
    low, high = shown.get_clim()
    assert low == -high and shown.get_array()[2, 3] == pytest.approx(-0.5) and figure.axes[3].images[0].get_clim() == (low, high)
    assert figure.axes[-1].get_yticklabels()[0].get_text() == "darker\nthan neutral"


def test_a_residual_of_nothing_is_white():
    figure = residuals.removal_grid({"removed": torch.zeros(1, 3, 8, 8)}, ["a"], ["removed"])
    assert figure.axes[0].images[0].get_array().ndim == 2 and figure.axes[0].images[0].get_clim() == (-0.05, 0.05)


def test_without_a_residual_there_is_no_bar():
    assert len(residuals.removal_grid({"face": torch.rand(1, 3, 8, 8)}, ["a"], []).axes) == 1


def test_lengths_are_written_in_their_cells():
    ax = residuals.length_matrix({"neutral": [0.1, 0.2], "fear": [0.3, 0.94]}, ["happiness", "fear"])
    assert {(t.get_position(), t.get_text()) for t in ax.texts} == {((0, 0), "0.10"), ((1, 0), "0.20"), ((0, 1), "0.30"), ((1, 1), "0.94")}
    assert [t.get_text() for t in ax.get_xticklabels()] == ["happiness", "fear"]


def test_arrows_begin_at_the_points_and_have_the_length_asked_for():
    points, move = 8 * torch.rand(1, 5, 2), torch.rand(1, 5, 2)
    figure = residuals.motion_arrows(torch.rand(1, 3, 8, 8), points, {"predicted": move, "true": 2 * move}, ["a"], 3.0)
    first, second = (ax.collections[0] for ax in figure.axes)
    assert first.get_offsets() == pytest.approx(points[0].numpy())
    assert first.U == pytest.approx(3 * move[0, :, 0].numpy()) and second.V == pytest.approx(6 * move[0, :, 1].numpy(), rel=1e-5)
    assert matplotlib.colors.to_hex(first.get_facecolor()[0]) == COLOURS["err_net"]
