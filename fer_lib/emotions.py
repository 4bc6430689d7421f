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
