"""Made-up trees of people with and without expression, known face by face."""

import io
from typing import NamedTuple

import numpy as np
from made_up import FILES, picture
from PIL import Image

from fer_lib.data import oulu_casia as oulu
from fer_lib.data.folds import person_folds
from fer_lib.emotions import CKPLUS_LABELS, MMI_LABELS, OULU_FOLDERS, Emotion


class Face(NamedTuple):
    """What a face of a made-up tree must come out as."""

    label: int
    twin: int  # tone of its neutral twin
    person: str


# By its tone (:func:`made_up.face_of`), every face that is loaded.
FACES = dict[int, Face]


def _acts(people: list[str], labels: list) -> list[tuple[str, object, int]]:
    """Two acts a person, so that every label is shown by people of at least three folds: (person, label, tone)."""
    shown = [(person, labels[(k + j) % len(labels)]) for k, person in enumerate(people) for j in (0, 3)]
    return [(person, label, 4 * i) for i, (person, label) in enumerate(shown)]


def marks(left=(20, 20), right=(40, 21)) -> bytes:
    """68 points, the six around an eye all at its centre."""
    points = [(1.0, 1.0)] * 36 + [left] * 6 + [right] * 6 + [(30.0, 40.0)] * 20
    return "\n".join(f"   {x:.7e}   {y:.7e}" for x, y in points).encode() + b"\n"


def ckplus() -> tuple[FILES, FACES]:
    """Five frames an act, the second one of no use; one act without a label."""
    files, faces = {}, {}
    people = [f"S{number:03}" for number in (5, 10, 11, 22, 52, 75, 100, 130, 504, 999)]
    for person, number, tone in _acts(people, [number for number in CKPLUS_LABELS if number]):
        act = f"{tone % 8 // 4 + 1:03}"
        for k, colour in enumerate((tone, 250, tone + 1, tone + 2, tone + 3), 1):
            frame = f"{person}/{act}/{person}_{act}_{k:08}"
            files[f"cohn-kanade-images/{frame}.png"] = picture(colour, (64, 48), "L")
            files[f"Landmarks/{frame}_landmarks.txt"] = marks()
            if k > 2:
                faces[colour] = Face(CKPLUS_LABELS[number], tone, person)
        files[f"Emotion/{frame}_emotion.txt"] = f"   {number:.7e}\n".encode()
    for k in range(1, 6):
        files[f"cohn-kanade-images/S005/009/S005_009_{k:08}.png"] = picture(251, (64, 48), "L")
    return files, faces


def oulu_casia(camera="VL", light="Strong") -> tuple[FILES, FACES]:
    """One person of each fold, five frames an act."""
    files, faces = {}, {}
    folds = person_folds(oulu._OuluCasia.everyone).tolist()
    people = [oulu._OuluCasia.everyone[folds.index(fold)] for fold in range(10)]
    for person, folder, tone in _acts(people, list(OULU_FOLDERS)):
        for k, colour in enumerate((tone, 250, tone + 1, tone + 2, tone + 3)):
            files[f"OriginalImg/{camera}/{light}/{person}/{folder}/{k:03}.jpeg"] = picture(colour, (320, 240))
            if k > 1:
                faces[colour] = Face(OULU_FOLDERS[folder], tone, person)
    return files, faces


def metatags(number: int) -> bytes:
    tags = "".join(f'<Metatag Name="{name}" Value="{value}"/>' for name, value in (("FACS", ""), ("Emotion", number)))
    return f'<?xml version="1.0"?><AnnotationData>{tags}</AnnotationData>'.encode()


def mmi() -> tuple[FILES, FACES]:
    """Seven frames a session, of which the middle three count; one session of another emotion, one profile."""
    files, faces = {}, {}
    people = [f"S{number:03}" for number in range(28, 38)]
    for person, number, tone in _acts(people, list(MMI_LABELS)):
        folder, name = f"Sessions/{tone + 100}", f"{person}-{tone // 4 + 1:03}"
        files |= {f"{folder}/{name}.xml": metatags(number), f"{folder}/{name}.avi": b"RIFF", f"{folder}/session.xml": b"<session/>"}
        for k, colour in enumerate((tone, 250, tone + 1, tone + 2, tone + 3, 251, 252)):
            # Numbers of different length: frame 10 comes after frame 9.
            files[f"{folder}/{name}_{k + 7}.png"] = picture(colour, (36, 48))
            if 2 <= k <= 4:
                faces[colour] = Face(MMI_LABELS[number], tone, person)
    files["Sessions/1/S028-900.xml"] = metatags(9)
    files["Sessions/2/S021-901.xml"] = metatags(1)
    return files, faces


def portrait(seed: int, shift=(0, 0), smile=0) -> np.ndarray:
    """A pattern around eyes at (45, 50) and (75, 51), moved by ``shift``; ``smile`` is painted below: (120, 120, 3)."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(40, 216, (32, 32), np.uint8)
    pattern = np.asarray(Image.fromarray(coarse).resize((160, 160), Image.Resampling.BICUBIC))
    face = pattern[20 - shift[1] : 140 - shift[1], 20 - shift[0] : 140 - shift[0]].copy()
    if smile:
        face[85 + shift[1] : 100 + shift[1], 40 + shift[0] : 80 + shift[0]] = smile
    return np.stack([face, face // 2, np.full_like(face, seed)], -1)


SHIFT = (4, -3)


def encoded(pixels: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def template(left=(45.0, 50.0), right=(75.0, 51.0), points=189) -> bytes:
    """A WebMorph template: a count, the points, then lines between them."""
    places = [left, right, *[(60.0, 60.0)] * (points - 2)]
    return "\n".join([str(points), *(f"{x:.2f}\t{y:.2f}" for x, y in places), "1", "0", "2", "0 1"]).encode()


def london() -> tuple[FILES, FACES]:
    """Twelve people; their number is the blue of every pixel."""
    files, faces, lines = {}, {}, ["face_id,face_age,face_gender,face_eth"]
    for number in range(1, 13):
        lines.append(f"{number:03},30,female,white")
        files[f"neutral_front/{number:03}_03.jpg"] = encoded(portrait(number))
        files[f"neutral_front/{number:03}_03.tem"] = template()
        files[f"smiling_front/{number:03}_08.jpg"] = encoded(portrait(number, SHIFT, smile=255))
        for label in (Emotion.NEUTRAL, Emotion.HAPPINESS):
            faces[2 * number + label] = Face(label, 2 * number, f"{number:03}")
    return files | {"london_info.csv": "\n".join(lines).encode()}, faces


# layout: tree
PAIRS = {"ckplus": ckplus, "oulu-casia-vl-strong": oulu_casia, "mmi": mmi, "london": london}


def tones(name: str, images) -> list[int]:
    """Which faces of a made-up tree these are."""
    if name != "london":
        return images[:, 0, 56, 56].tolist()
    # The mouth is painted white in the first channel where somebody smiles.
    return [2 * int(image[2, 56, 56]) + int(image[0, 84, 56] > 250) for image in images]
