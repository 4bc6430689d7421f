"""The one order of emotions, and how each dataset's own labels map to it."""

from enum import IntEnum


class Emotion(IntEnum):
    """The eight emotions in the book's order; the value is the class index.

    The order is FERPlus's. Contempt comes last, so that a seven-class dataset
    (RAF-DB, SFEW) uses the indices 0-6 without a gap.

    Explained in: book/faces.ipynb
    """

    NEUTRAL = 0
    HAPPINESS = 1
    SURPRISE = 2
    SADNESS = 3
    ANGER = 4
    DISGUST = 5
    FEAR = 6
    CONTEMPT = 7

    @property
    def title(self) -> str:
        """The name as a reader sees it: ``happiness``."""
        return self.name.lower()


NAMES = tuple(emotion.title for emotion in Emotion)

# The vote columns of FERPlus, left to right. ``None`` is no emotion: unknown, not a face.
FERPLUS_COLUMNS: dict[str, Emotion | None] = {
    "neutral": Emotion.NEUTRAL,
    "happiness": Emotion.HAPPINESS,
    "surprise": Emotion.SURPRISE,
    "sadness": Emotion.SADNESS,
    "anger": Emotion.ANGER,
    "disgust": Emotion.DISGUST,
    "fear": Emotion.FEAR,
    "contempt": Emotion.CONTEMPT,
    "unknown": None,
    "NF": None,
}

# RAF-DB basic, the numbers in list_patition_label.txt.
RAFDB_LABELS: dict[int, Emotion] = {
    1: Emotion.SURPRISE,
    2: Emotion.FEAR,
    3: Emotion.DISGUST,
    4: Emotion.HAPPINESS,
    5: Emotion.SADNESS,
    6: Emotion.ANGER,
    7: Emotion.NEUTRAL,
}

# AffectNet, both releases. 8 to 10 are no emotion: none of these, uncertain, no face.
AFFECTNET_LABELS: dict[int, Emotion | None] = {
    0: Emotion.NEUTRAL,
    1: Emotion.HAPPINESS,
    2: Emotion.SADNESS,
    3: Emotion.SURPRISE,
    4: Emotion.FEAR,
    5: Emotion.DISGUST,
    6: Emotion.ANGER,
    7: Emotion.CONTEMPT,
    8: None,
    9: None,
    10: None,
}

# CK+, the number in each *_emotion.txt.
CKPLUS_LABELS: dict[int, Emotion] = {
    0: Emotion.NEUTRAL,
    1: Emotion.ANGER,
    2: Emotion.CONTEMPT,
    3: Emotion.DISGUST,
    4: Emotion.FEAR,
    5: Emotion.HAPPINESS,
    6: Emotion.SADNESS,
    7: Emotion.SURPRISE,
}

# MMI, the Emotion metatag of a session.
MMI_LABELS: dict[int, Emotion] = {
    1: Emotion.ANGER,
    2: Emotion.DISGUST,
    3: Emotion.FEAR,
    4: Emotion.HAPPINESS,
    5: Emotion.SADNESS,
    6: Emotion.SURPRISE,
}

# SFEW 2.0, the class folders.
SFEW_FOLDERS: dict[str, Emotion] = {
    "Angry": Emotion.ANGER,
    "Disgust": Emotion.DISGUST,
    "Fear": Emotion.FEAR,
    "Happy": Emotion.HAPPINESS,
    "Neutral": Emotion.NEUTRAL,
    "Sad": Emotion.SADNESS,
    "Surprise": Emotion.SURPRISE,
}

# JAFFE, the two letters in a file's name.
JAFFE_CODES: dict[str, Emotion] = {
    "AN": Emotion.ANGER,
    "DI": Emotion.DISGUST,
    "FE": Emotion.FEAR,
    "HA": Emotion.HAPPINESS,
    "NE": Emotion.NEUTRAL,
    "SA": Emotion.SADNESS,
    "SU": Emotion.SURPRISE,
}

# Oulu-CASIA, the folders of a person.
OULU_FOLDERS: dict[str, Emotion] = {
    "Anger": Emotion.ANGER,
    "Disgust": Emotion.DISGUST,
    "Fear": Emotion.FEAR,
    "Happiness": Emotion.HAPPINESS,
    "Sadness": Emotion.SADNESS,
    "Surprise": Emotion.SURPRISE,
}

# muxspace facial_expressions, the words in legend.csv.
FACIAL_EXPRESSIONS_WORDS: dict[str, Emotion] = {
    "anger": Emotion.ANGER,
    "contempt": Emotion.CONTEMPT,
    "disgust": Emotion.DISGUST,
    "fear": Emotion.FEAR,
    "happiness": Emotion.HAPPINESS,
    "neutral": Emotion.NEUTRAL,
    "sadness": Emotion.SADNESS,
    "surprise": Emotion.SURPRISE,
}

# Face Research Lab London Set, the folders.
LONDON_FOLDERS: dict[str, Emotion] = {
    "neutral_front": Emotion.NEUTRAL,
    "smiling_front": Emotion.HAPPINESS,
}
