"""Things to play with in a notebook that has a kernel: faces to move, to spoil, and a photo of your own."""

import html
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import wraps

import ipywidgets as widgets
import torch
from torch import Tensor

from fer_lib.data.faces import AU_NAMES, PROTOTYPES, draw_faces, sample_people
from fer_lib.emotions import NAMES, Emotion
from fer_lib.errors import FerError
from fer_lib.looks import as_html, bars_html, card_html, look, spoiled, who_is_there
from fer_lib.photo import CLOSEST, Eyes, cut_out, eyes_in_the_middle, eyes_of_drawn, find_eyes, frame, read_photo
from fer_lib.show import COLOURS
from fer_lib.trained import Trained

DRAWN = 192  # pixels of a drawn face
READ = 64  # pixels at which a spoiled face is shown where nobody reads it
SHOWN = 320  # pixels of the shorter side of a photo as it is shown
LONGEST = 960  # pixels of the longer side of a photo as it is shown
ACCEPTED = ".bmp,.jpg,.jpeg,.png,.tif,.tiff"  # as fer_lib.photo.read_photo
FOUND = "A face was found: move the two marks until they lie on the eyes."
NOT_FOUND = "No face was found: move the two marks onto the eyes with the sliders."
ONE_SIDED = (Emotion.CONTEMPT,)
SIDES = {"both sides": (1.0, 1.0), "left in the picture": (1.0, 0.0), "right in the picture": (0.0, 1.0)}
DARK = {"good light": "", "dusk": "low_light:mild", "a dim room": "low_light:medium", "night": "low_light:severe"}
SMALL = {"all pixels": "", "half the width": "low_resolution:2", "a quarter": "low_resolution:4", "an eighth": "low_resolution:8"}
_WIDE = {"description_width": "12em"}


def face_maker(readers: Mapping[str, Trained]) -> widgets.Widget:
    """Sliders for a person's action units; the face that they make, and what a recognizer says of it.

    Args:
        readers: from :func:`fer_lib.looks.load_readers`.

    Explained in: book/playground.ipynb
    """
    person = widgets.IntSlider(17, 0, 200, description="person", style=_WIDE)
    preset = widgets.Dropdown(options=NAMES, value="happiness", description="begin with", style=_WIDE)
    side = widgets.ToggleButtons(options=SIDES, description="move", style={**_WIDE, "button_width": "auto"})
    units = {
        name: widgets.FloatSlider(0, min=0, max=1, step=0.05, readout_format=".2f", description=f"{name} {title}", style=_WIDE)
        for name, title in AU_NAMES.items()
    }
    reader = widgets.Dropdown(options=list(readers), description="read by", style=_WIDE)
    picture, said = widgets.HTML(), widgets.HTML()

    @_saying(said)
    def draw(_change: object = None) -> None:
        face = drawn_face(person.value, {name: slider.value for name, slider in units.items()}, side.value)
        picture.value = as_html(face, "The face as you have moved it", DRAWN)
        if not readers:
            said.value = html.escape(who_is_there(readers))
            return
        seen = look(readers[reader.value], face, eyes_of_drawn(DRAWN))
        said.value = bars_html(seen.probability, COLOURS[readers[reader.value].about["method"]])

    def set_units(_change: object = None) -> None:
        emotion = Emotion[preset.value.upper()]
        with _held(draw, *units.values(), side):
            side.value = SIDES["left in the picture" if emotion in ONE_SIDED else "both sides"]
            for name, slider in units.items():
                slider.value = PROTOTYPES[emotion].get(name, 0.0)
        draw()

    _watch(draw, person, side, reader, *units.values())
    preset.observe(set_units, "value")
    set_units()
    sliders = widgets.GridBox(list(units.values()), layout={"grid_template_columns": "repeat(auto-fit, minmax(300px, 1fr))"})
    return widgets.VBox([person, preset, side, reader, widgets.HBox([picture, said]), sliders])


def spoiler(readers: Mapping[str, Trained]) -> widgets.Widget:
    """A drawn face, darkened or shrunk, and what each recognizer restores of it, recognizes in it and looks at.

    Explained in: book/playground.ipynb
    """
    person = widgets.IntSlider(17, 0, 200, description="person", style=_WIDE)
    emotion = widgets.Dropdown(options=NAMES, value="happiness", description="expression", style=_WIDE)
    dark, small = spoiling()
    drawn = {name: reader for name, reader in readers.items() if reader.about["dataset"] == "faces"}
    given, said = widgets.HTML(), widgets.HTML()

    @_saying(said)
    def draw(_change: object = None) -> None:
        meant = Emotion[emotion.value.upper()]
        sides = SIDES["left in the picture" if meant in ONE_SIDED else "both sides"]
        face, eyes = drawn_face(person.value, PROTOTYPES[meant], sides), eyes_of_drawn(DRAWN)
        text = _together(small, dark)
        bad = spoiled(cut_out(face, eyes, "faces", READ), text)[0]
        given.value = f'{as_html(face, "The face as drawn")} {as_html(bad, "The face, spoiled")}'
        said.value = _cards(drawn, face, eyes, text)

    _watch(draw, person, emotion, dark, small)
    draw()
    return widgets.VBox([person, emotion, dark, small, given, said])


def photo_reader(readers: Mapping[str, Trained]) -> widgets.Widget:
    """A photo of your own: uploaded to the kernel, its face found or marked by you, spoiled if you like, and recognized.

    What is no photo is answered with one sentence.

    Explained in: book/playground.ipynb
    """
    upload = widgets.FileUpload(accept=ACCEPTED, multiple=False, description="Choose a photo")
    dark, small = spoiling()
    x, y, apart, turn = (
        widgets.FloatSlider(0, min=low, max=high, step=0.5, description=name, continuous_update=False, style=_WIDE)
        for name, low, high in (("eyes: across", 0, 1), ("eyes: down", 0, 1), ("eyes: apart", CLOSEST, 2 * CLOSEST), ("eyes: turn", -45, 45))
    )
    told, marked, said = widgets.HTML("No photo yet."), widgets.HTML(), widgets.HTML()
    below = widgets.VBox([x, y, apart, turn, dark, small, marked, said], layout={"display": "none"})
    photos: list[Tensor] = []

    @_saying(said)
    def draw(_change: object = None) -> None:
        eyes = Eyes(x.value, y.value, apart.value, turn.value)
        marked.value = marked_html(photos[-1], eyes)
        said.value = _cards(readers, photos[-1], eyes, _together(small, dark))

    @_saying(told)
    def take(_change: object = None) -> None:
        below.layout.display = "none"
        photos.clear()
        for file in upload.value:
            photo = read_photo(bytes(file["content"]), file["name"])
            photos.append(photo)
            found = find_eyes(photo)
            told.value = FOUND if found else NOT_FOUND
            height, width = photo.shape[1:]
            with _held(draw, x, y, apart, turn):
                x.max, y.max, apart.max = width, height, max(width, height, 2 * CLOSEST)
                x.value, y.value, apart.value, turn.value = found or eyes_in_the_middle(photo)
            draw()
            below.layout.display = ""

    _watch(draw, x, y, apart, turn, dark, small)
    upload.observe(take, "value")
    return widgets.VBox([upload, told, below])


def drawn_face(person: int, units: Mapping[str, float], sides: tuple[float, float] = (1.0, 1.0)) -> Tensor:
    """A person's face with some action units, uint8 (3, ``DRAWN``, ``DRAWN``).

    Args:
        units: name -> intensity in [0, 1]; those that are not named are 0.
        sides: factors of the left and of the right half of the picture.

    Explained in: book/playground.ipynb
    """
    row = torch.tensor([[units.get(name, 0.0) for name in AU_NAMES]])
    both = row[..., None] * torch.tensor(sides)
    return (draw_faces(sample_people(torch.tensor([person])), both, size=DRAWN).image[0] * 255).round().to(torch.uint8)


def marked_html(photo: Tensor, eyes: Eyes) -> str:
    """A photo with the two marks that are to lie on the eyes, and the square that is cut out for drawn faces.

    Explained in: book/playground.ipynb
    """
    height, width = photo.shape[1:]
    scale = min(SHOWN / min(height, width), LONGEST / max(height, width))
    shown, radius = max(1, round(scale * width)), 0.08 * eyes.apart
    points = " ".join(f"{p.real + 0.5:.1f},{p.imag + 0.5:.1f}" for p in frame(eyes, "faces"))
    line = f'fill="none" stroke-width="{max(width, height) / 250:.1f}"'
    marks = "".join(f'<circle cx="{e.real + 0.5:.1f}" cy="{e.imag + 0.5:.1f}" r="{radius:.1f}" stroke="#e69f00" {line}/>' for e in eyes.both())
    drawing = f'<polygon points="{points}" stroke="#56b4e9" {line}/>{marks}'
    overlay = f'<svg viewBox="0 0 {width} {height}" style="position:absolute;inset:0;width:100%;height:100%">{drawing}</svg>'
    return f'<div style="position:relative;width:{shown}px">{as_html(photo, "Your photo, with two marks for the eyes", shown)}{overlay}</div>'


def spoiling() -> tuple[widgets.SelectionSlider, widgets.SelectionSlider]:
    """The sliders for darkness and for size; their values are as a recipe spells degradations.

    Explained in: book/playground.ipynb
    """
    dark = widgets.SelectionSlider(options=DARK, description="light", style=_WIDE)
    return dark, widgets.SelectionSlider(options=SMALL, description="size", style=_WIDE)


def _cards(readers: Mapping[str, Trained], picture: Tensor, eyes: Eyes, spoil: str) -> str:
    if not readers:
        return html.escape(who_is_there(readers))
    cards = [card_html(name, reader, look(reader, picture, eyes, spoil)) for name, reader in readers.items()]
    return f'<div style="display:flex;flex-wrap:wrap;gap:12px">{"".join(cards)}</div>'


def _together(small: widgets.SelectionSlider, dark: widgets.SelectionSlider) -> str:
    """Fewer pixels first, then less light, as the chapters' recipes have it."""
    return "+".join(filter(None, (small.value, dark.value)))


def _watch(act: Callable, *inputs: widgets.Widget) -> None:
    for one in inputs:
        one.observe(act, "value")


@contextmanager
def _held(act: Callable, *inputs: widgets.Widget) -> Iterator[None]:
    """While several inputs are set, nothing is drawn."""
    for one in inputs:
        one.unobserve(act, "value")
    yield
    _watch(act, *inputs)


def _saying(where: widgets.HTML) -> Callable:
    """What goes wrong while something is drawn is said in ``where``, in one sentence."""

    def decorate(act: Callable) -> Callable:
        @wraps(act)
        def guarded(change: object = None) -> None:
            try:
                act(change)
            except FerError as error:
                where.value = f'<p role="alert">{html.escape(str(error))}</p>'

        return guarded

    return decorate
