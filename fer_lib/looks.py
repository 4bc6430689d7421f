"""What kept recognizers make of a face, as pictures and bars: for a web page, and as a still."""

import base64
import html
import io
from collections.abc import Mapping
from pathlib import Path
from textwrap import fill
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Polygon
from PIL import Image
from torch import Tensor

from fer_lib.data.degradation import Degradation
from fer_lib.data.degrade import upsample
from fer_lib.emotions import NAMES, Emotion
from fer_lib.explain import grad_cam
from fer_lib.kept import kept_recognizers, load_recognizer
from fer_lib.methods.cascade import Cascade
from fer_lib.photo import EXPECTED, Eyes, cut_out, frame
from fer_lib.run import WEIGHTS
from fer_lib.show import COLOURS
from fer_lib.trained import Trained

TITLES = {"baseline": "Plain", "ll_fer": "LL-FER", "sr_fer": "SR-FER", "clcl": "CLCL", "err_net": "ERR-Net", "lnl": "LNL"}
SEEN = {"faces": "drawn faces", "ferplus": "photographs"}  # what a recognizer was trained on
NO_MAP = "no map: nothing in the last map of features speaks for the answer"
NO_SEGMENT = "no map: neutral is what remains when no segment is long"  # ERR-Net's logit of neutral is 0, whatever it sees
EXTRA = {"restored": "restored", "neutral": "without expression"}  # a method's own picture, and its name


class Look(NamedTuple):
    """What one recognizer makes of one face.

    Attributes:
        pictures: title -> float (3, H, W) in [0, 1]: what it is given, its own picture where it makes one, and where it looks.
        probability: (K,), sums to 1.
        note: why there is no map of where it looks; "" where there is one.

    Explained in: book/playground.ipynb
    """

    pictures: dict[str, Tensor]
    probability: Tensor
    note: str = ""


def load_readers(folder: Path = WEIGHTS) -> dict[str, Trained]:
    """All whole recognizers that are kept in a folder, by a name such as ``LL-FER A7, drawn faces``.

    Raises:
        FerError: if a file is damaged.

    Explained in: book/playground.ipynb
    """
    found = [load_recognizer(path) for path in kept_recognizers(folder)]
    order = list(TITLES)
    found.sort(key=lambda one: (one.about["dataset"] != "faces", order.index(one.about["method"]), one.about["row"]))
    return {_title(one): one for one in found}


def who_is_there(readers: Mapping[str, Trained], folder: Path = WEIGHTS) -> str:
    """Which recognizers there are, or how to make them, in a sentence.

    Explained in: book/playground.ipynb
    """
    if readers:
        return f"Recognizers at hand: {'; '.join(readers)}."
    return (
        f"No recognizer is kept in {folder.name} yet, so faces are drawn and spoiled but not read: "
        "`python tools/keep_weights.py recognizers RUNS` keeps those that it names, once they are trained."
    )


def look(reader: Trained, picture: Tensor, eyes: Eyes, spoil: str = "") -> Look:
    """Cut the face out as the recognizer expects it, spoil it, restore it where the method can, and recognize it.

    The map is Grad-CAM's, of the likeliest expression; where it is zero everywhere, a note stands in its place.

    Args:
        picture: uint8 (3, H, W), a drawn face or a photo; eyes: where they are in it.
        spoil: as a recipe spells it, ``low_resolution:4+low_light:medium``; "" is nothing.

    Explained in: book/playground.ipynb
    """
    size = reader.recipe.size
    image = spoiled(cut_out(picture, eyes, reader.about["dataset"], size), spoil)
    large = upsample(image, size)
    # Only who was trained to enlarge gets the small picture.
    image = image if "low_resolution" in reader.recipe.degrade else large
    with torch.no_grad():
        seen = reader.method(image)
    label = seen.logits.argmax(1)
    pictures = {"given": large} | {title: seen.maps[name] for name, title in EXTRA.items() if name in seen.maps}
    cascade = isinstance(reader.method, Cascade)
    inner, read = (reader.method.recognizer, seen.maps["restored"]) if cascade else (reader.method, image)
    heat, note = grad_cam(inner, read, label), ""
    if heat.any():
        pictures["looks at"] = _overlay(upsample(read, size), heat)
    else:
        note = NO_SEGMENT if reader.about["method"] == "err_net" and label == Emotion.NEUTRAL else NO_MAP
    shown = {title: x.detach()[0].expand(3, -1, -1) for title, x in pictures.items()}
    return Look(shown, seen.logits.softmax(1)[0].detach(), note)


def spoiled(image: Tensor, text: str) -> Tensor:
    """A picture (B, C, H, W) in [0, 1], spoiled as a recipe spells it; the noise is the same each time.

    Explained in: book/playground.ipynb
    """
    degrade = Degradation.of(text)
    return image if degrade is None else degrade(image, torch.arange(len(image)))


def as_html(picture: Tensor, alt: str, width: int = 112) -> str:
    """A picture, float (3, H, W) in [0, 1] or uint8, as an image of a web page, with its pixels visible.

    Explained in: book/playground.ipynb
    """
    file = io.BytesIO()
    image = Image.fromarray(_pixels(picture))
    image.thumbnail((2 * width, image.height))
    image.save(file, "PNG")
    source = base64.b64encode(file.getvalue()).decode()
    style = f"width:{width}px;image-rendering:pixelated"
    return f'<img alt="{html.escape(alt)}" style="{style}" src="data:image/png;base64,{source}">'


def bars_html(probability: Tensor, colour: str) -> str:
    """Probabilities (K,) as a table with bars, the likeliest in bold.

    Explained in: book/playground.ipynb
    """
    rows, best = [], int(probability.argmax())
    for k, p in enumerate(probability.tolist()):
        bar = f'<div style="width:{100 * p:.1f}%;height:0.9em;background:{colour}"></div>'
        name = f"<b>{NAMES[k]}</b>" if k == best else NAMES[k]
        rows.append(f'<tr><td>{name}</td><td style="width:8em;padding:0 0.5em">{bar}</td><td>{100 * p:.0f} %</td></tr>')
    table = "".join(rows)
    return f'<table class="prediction" style="line-height:1.25">{table}</table>'


def card_html(title: str, reader: Trained, seen: Look) -> str:
    """A recognizer's pictures and bars under its name.

    Explained in: book/playground.ipynb
    """
    said = NAMES[int(seen.probability.argmax())]
    pictures = [
        f'<figure style="margin:0">{as_html(x, f"{title}: {name}")}<figcaption>{name}</figcaption></figure>'
        for name, x in seen.pictures.items()
    ]
    if seen.note:
        pictures.append(f'<div style="width:112px;font-size:smaller">{seen.note}</div>')
    head = f"<div><b>{html.escape(title)}</b>: {said}</div>"
    row = f'<div style="display:flex;gap:6px;flex-wrap:wrap">{"".join(pictures)}</div>'
    colour = COLOURS[reader.about["method"]]
    return f'<div style="border-left:4px solid {colour};padding:0 12px 12px 8px">{head}{row}{bars_html(seen.probability, colour)}</div>'


def still(looks: Mapping[str, tuple[Trained, Look]]) -> Figure:
    """The same as a figure: one row a recognizer, its pictures and its bars.

    Explained in: book/playground.ipynb
    """
    most = max((len(seen.pictures) + bool(seen.note) for _, seen in looks.values()), default=1)
    ratios = [1] * most + [1.5]
    figure, axes = plt.subplots(
        max(len(looks), 1), most + 1, figsize=(7.2, 1.75 * max(len(looks), 1)), squeeze=False, width_ratios=ratios
    )
    for ax in axes.flat:
        ax.set_axis_off()
    if not looks:
        axes[0, 0].text(0, 0.5, "No recognizer is kept yet.", color="#6b6b6b")
    for line, (title, (reader, seen)) in zip(axes, looks.items(), strict=False):
        for ax, (name, picture) in zip(line, seen.pictures.items(), strict=False):
            ax.imshow(_pixels(picture))
            ax.set_title(name, fontsize=9)
        if seen.note:
            line[len(seen.pictures)].text(0, 0.5, fill(seen.note, 16), va="center", fontsize=8, color="#6b6b6b")
        _bars(line[-1], title, seen.probability, COLOURS[reader.about["method"]])
    return figure


def photo_still(photo: Tensor, eyes: Eyes) -> Figure:
    """A photo with the marks on its eyes and the square that is cut out, and the faces that recognizers of each kind get.

    Args:
        photo: uint8 (3, H, W).

    Explained in: book/playground.ipynb
    """
    figure, axes = plt.subplots(1, 1 + len(EXPECTED), figsize=(7.2, 2.7))
    for ax in axes:
        ax.set_axis_off()
    axes[0].imshow(_pixels(photo))
    corners = frame(eyes, "faces")
    axes[0].add_patch(Polygon([(p.real, p.imag) for p in corners], fill=False, ec=COLOURS["sr_fer"], lw=2))
    both = eyes.both()
    axes[0].plot([e.real for e in both], [e.imag for e in both], "o", mfc="none", mec=COLOURS["ll_fer"], mew=2)
    axes[0].set_title("a photo, and the marks")
    for ax, dataset in zip(axes[1:], EXPECTED, strict=True):
        ax.imshow(_pixels(cut_out(photo, eyes, dataset, 96)[0].expand(3, -1, -1)))
        ax.set_title(f"cut out for {SEEN[dataset]}")
    return figure


def pretend_photo(face: Tensor, turn: float = 0.0) -> Tensor:
    """A drawn face tilted in a wider picture, so that there is something to find: uint8 (3, H, W) -> (3, 1.6 H, 2 H).

    Args:
        turn: in degrees, clockwise.

    Explained in: book/playground.ipynb
    """
    size = face.shape[-1]
    canvas = Image.new("RGB", (2 * size, int(1.6 * size)), (196, 205, 214))
    mask = Image.new("L", (size, size), 255).rotate(-turn, Image.Resampling.BICUBIC)
    tilted = Image.fromarray(_pixels(face)).rotate(-turn, Image.Resampling.BICUBIC)
    canvas.paste(tilted, (int(0.6 * size), int(0.3 * size)), mask)
    return torch.from_numpy(np.array(canvas).transpose(2, 0, 1).copy())


def _bars(ax: Axes, title: str, probability: Tensor, colour: str) -> None:
    names = NAMES[: len(probability)]
    ax.set_axis_on()
    ax.barh(range(len(names)), 100 * probability.numpy(), color=colour)
    ax.set(xlim=(0, 100), yticks=range(len(names)))
    ax.set_yticklabels(names, fontsize=8)
    ax.tick_params(axis="x", labelsize=8)
    ax.invert_yaxis()
    ax.set_title(f"{title} (%)", fontsize=9)


def _overlay(image: Tensor, heat: Tensor) -> Tensor:
    """Images (1, C, H, W) under a map (1, h, w), both in [0, 1]."""
    heat = upsample(heat[:, None], image.shape[-1])[0, 0]
    colour = torch.from_numpy(plt.get_cmap("inferno")(heat.numpy())[..., :3]).float().permute(2, 0, 1)
    return 0.5 * image.expand(-1, 3, -1, -1) + 0.5 * colour[None]


def _pixels(picture: Tensor) -> np.ndarray:
    if picture.dtype != torch.uint8:
        picture = (picture.clamp(0, 1) * 255).round().to(torch.uint8)
    return picture.permute(1, 2, 0).numpy()


def _title(reader: Trained) -> str:
    about = reader.about
    return f"{TITLES[about['method']]} {about['row']}, {SEEN.get(about['dataset'], about['dataset'])}"
