"""Figures that move: they play in the rendered page, without a kernel, and say the same standing still.

Every player takes ``alt``, a sentence for those who do not see it: what changes, and what one sees. Below it some of
its frames are folded as still pictures, unless ``still`` says where on the page the same already stands as a still.
"""

import base64
import re
from collections.abc import Callable, Sequence
from html import escape
from io import BytesIO

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.animation import FuncAnimation
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from torch import Tensor

from fer_lib.emotions import NAMES
from fer_lib.show import ACCENT, COLOURS

# What matplotlib draws on its buttons with an icon font from another host, as plain characters.
_SIGNS = {
    "fa-minus": "−",
    "fa-fast-backward": "|◀◀",
    "fa-step-backward": "|◀",
    "fa-play fa-flip-horizontal": "◀",
    "fa-pause": "❚❚",
    "fa-play": "▶",
    "fa-step-forward": "▶|",
    "fa-fast-forward": "▶▶|",
    "fa-plus": "+",
}


def face_player(rows: Tensor, titles: Sequence[str], alt: str, interval: int = 500, still: str = "") -> str:
    """An animation of faces that plays without a kernel.

    Args:
        rows: uint8 or float in [0, 1], (frames, faces side by side, 1 or 3, H, W).
        titles: one per frame.
        alt, still: see the head of this file.
        interval: milliseconds per frame.

    Returns:
        HTML with its own buttons and slider.

    Explained in: book/faces.ipynb
    """
    strips = rows.permute(0, 3, 1, 4, 2).flatten(2, 3).cpu().numpy()  # (frames, H, faces * W, C)
    height, width = strips.shape[1:3]
    figure, ax = plt.subplots(figsize=(6.4, 6.4 * height / width + 0.4), dpi=80)
    picture = ax.imshow(strips[0].squeeze(), cmap="gray", vmin=0, vmax=255 if rows.dtype == torch.uint8 else 1)
    ax.set_axis_off()

    def frame(k: int) -> None:
        picture.set_data(strips[k].squeeze())

    with plt.rc_context({"animation.frame_format": "jpeg"}):
        return _player(figure, frame, titles, alt, still, interval, "reflect")


def sample_size_player(hits: Tensor, sizes: Sequence[int], alt: str, still: str = "", seed: int = 0) -> str:
    """An animation that plays without a kernel: what accuracy one might see with ever more test faces.

    For each size, 500 test sets are drawn from the measured hits and misses.

    Args:
        hits: bool (N,), see :meth:`fer_lib.record.Record.hits`.
        alt, still: see the head of this file.

    Returns:
        HTML with its own buttons.

    Explained in: book/baseline.ipynb
    """
    generator = torch.Generator().manual_seed(seed)
    draws = [
        100 * hits[torch.randint(len(hits), (500, n), generator=generator)].float().mean(1).numpy() for n in sizes
    ]
    figure, ax = plt.subplots(figsize=(6, 3.2), dpi=80)
    truth, edges = 100 * hits.float().mean().item(), np.linspace(0, 100, 51)

    def frame(k: int) -> None:
        ax.clear()
        low, high = np.percentile(draws[k], [2.5, 97.5])
        ax.hist(draws[k], edges, weights=np.full(500, 0.2), color=COLOURS["baseline"])
        ax.axvspan(low, high, color=ACCENT, alpha=0.25, label=f"95 %: {low:.0f} to {high:.0f}")
        ax.axvline(truth, color="black", lw=1, ls="--")
        ax.set(xlim=(0, 100), ylim=(0, 100), xlabel="accuracy seen (%)", ylabel="share of test sets (%)")
        ax.legend(frameon=False, loc="upper left")

    return _player(figure, frame, [f"{n} test faces" for n in sizes], alt, still, 800, "once")


def weight_player(
    face: Tensor, weight: Tensor, share: Sequence[float], even: float, titles: Sequence[str], alt: str, still: str = ""
) -> str:
    """An animation that plays without a kernel: the weights of a face's regions, and their share on some of them.

    Args:
        face: (3, H, W) in [0, 1].
        weight: (frames, side * side), 1 where all regions count alike.
        share, titles: one per frame; the share in [0, 1].
        even: the share that even weights have.
        alt, still: see the head of this file.

    Returns:
        HTML with its own buttons and slider.

    Explained in: book/lnl.ipynb
    """
    side, pixels = round(weight.shape[1] ** 0.5), face.shape[-1]
    figure, (left, right) = plt.subplots(1, 2, figsize=(6.4, 3.2), dpi=80)
    left.imshow(face.permute(1, 2, 0).cpu().numpy())
    edges = (-0.5, pixels - 0.5, pixels - 0.5, -0.5)
    cells = weight.cpu().unflatten(1, (side, side)).numpy()
    picture = left.imshow(cells[0], cmap="inferno", alpha=0.6, vmin=0, vmax=max(2.0, cells.max()), extent=edges)
    left.set_axis_off()
    figure.colorbar(picture, ax=left, label="weight (even: 1)")
    right.axhline(100 * even, color="black", lw=1, ls="--", label="even weights")
    curve = right.plot([], [], "o-", color=COLOURS["lnl"], label="this training")[0]
    right.set(xlim=(-0.3, len(share) - 0.7), ylim=(0, 100), xlabel="epoch", ylabel="share of the weight (%)")
    right.legend(frameon=False, fontsize=9)

    def frame(k: int) -> None:
        picture.set_data(cells[k])
        curve.set_data(range(k + 1), [100 * x for x in share[: k + 1]])

    return _player(figure, frame, titles, alt, still, 700, "once")


def order_player(
    labels: Tensor, orders: Sequence[Tensor], titles: Sequence[str], size: int, alt: str, still: str = ""
) -> str:
    """An animation that plays without a kernel: who shares a batch, while the order of a list changes.

    Args:
        labels: int64 (N,), at most eight classes; orders: of each frame, int64 (N,); titles: of each frame.
        size: faces to a batch: one row of the picture, one colour an emotion.
        alt, still: see the head of this file.

    Returns:
        HTML with its own buttons.

    Explained in: book/clcl.ipynb
    """
    rows = -(-len(labels) // size)
    figure, ax = plt.subplots(figsize=(6.4, 0.22 * rows + 1.5), dpi=80)
    strips = np.full((len(orders), rows * size), np.nan)
    strips[:, : len(labels)] = torch.stack([labels[order] for order in orders]).cpu().numpy()
    strips = strips.reshape(len(orders), rows, size)
    eight = ListedColormap(["#1a1a1a", *list(COLOURS.values())[1:], ACCENT, "#f0e442"])
    picture = ax.imshow(strips[0], cmap=eight, vmin=-0.5, vmax=7.5, aspect="auto")
    ax.set(xticks=[], yticks=range(0, rows, 4), xlabel=f"{size} faces that share a batch", ylabel="batch")
    ax.grid(False)
    bar = figure.colorbar(picture, ax=ax, ticks=range(8))
    bar.ax.set_yticklabels(NAMES[:8], fontsize=8)

    def frame(k: int) -> None:
        picture.set_data(strips[k])

    return _player(figure, frame, titles, alt, still, 900, "reflect")


def _player(
    figure: Figure, frame: Callable[[int], None], titles: Sequence[str], alt: str, still: str, interval: int, mode: str
) -> str:
    """The animation's HTML, with signs for icons, so that it asks no other host for anything; and what stands still."""

    def titled(k: int) -> None:
        frame(k)
        figure.axes[0].set_title(titles[k])

    html = FuncAnimation(figure, titled, frames=len(titles), interval=interval).to_jshtml(default_mode=mode)
    below = f'<p class="still">{escape(still)}</p>' if still else _stills(figure, frame, titles)
    plt.close(figure)
    html = re.sub(r"<link[^>]*>", "", html)
    html = html.replace("<img id=", f'<img alt="{escape(alt)}" id=')
    return re.sub(r'<i class="fa ([^"]+)"></i>', lambda icon: _SIGNS[icon[1]], html) + below


def _stills(figure: Figure, frame: Callable[[int], None], titles: Sequence[str]) -> str:
    """At most six frames, the first and the last among them, each under its title; side by side where there is room."""
    kind, pictures = plt.rcParams["animation.frame_format"], []
    for k in np.unique(np.linspace(0, len(titles) - 1, 6).round().astype(int)):
        frame(k)
        figure.axes[0].set_title("")
        file, title = BytesIO(), escape(titles[k])
        figure.savefig(file, format=kind, bbox_inches="tight", pad_inches=0.05)
        data = base64.b64encode(file.getvalue()).decode()
        picture = f'<img alt="{title}" src="data:image/{kind};base64,{data}" style="width: 100%">'
        pictures.append(f'<figure><figcaption aria-hidden="true">{title}</figcaption>{picture}</figure>')
    width, height = figure.get_size_inches()
    column = "100%" if width > 4 * height else "min(100%, 18rem)"
    grid = f"display: grid; grid-template-columns: repeat(auto-fill, minmax({column}, 1fr)); gap: 0.5rem 1rem"
    return (
        '<details class="still"><summary>The same as still pictures</summary>'
        f'<div style="{grid}">{"".join(pictures)}</div></details>'
    )
