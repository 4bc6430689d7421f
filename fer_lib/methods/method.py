"""What every method of the book is made of, so that one training loop serves all."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple

from torch import Tensor, nn

from fer_lib.data.loader import Batch, Loader


class Term(NamedTuple):
    """One named part of a loss: ``value`` is a scalar tensor, ``weight`` its factor in the sum.

    Explained in: book/baseline.ipynb
    """

    value: Tensor
    weight: float = 1.0


class Player(NamedTuple):
    """One optimizer of a stage: it moves the parameters of ``modules`` and nothing else.

    A GAN has two players; a plain classifier has one. ``modules`` are names of
    the method's submodules; ``lr`` multiplies the recipe's learning rate.

    Explained in: book/baseline.ipynb
    """

    name: str
    modules: tuple[str, ...]
    lr: float = 1.0


class Stage(NamedTuple):
    """A stretch of training: who plays, and which ``share`` of the epochs it lasts.

    Modules of no player are frozen in the stage: no gradient, batch-norm statistics still.
    A stage without players changes nothing.

    Explained in: book/baseline.ipynb
    """

    name: str
    players: tuple[Player, ...]
    share: float = 1.0


@dataclass
class Prediction:
    """What a method says about a batch of images.

    Attributes:
        logits: (B, K), one score per emotion, before the softmax.
        stages: the four stage maps of the recognizer.
        maps: what else the method shows, by name: ``restored``, ``residual``, ``attention`` ...

    Explained in: book/baseline.ipynb
    """

    logits: Tensor
    stages: list[Tensor] = field(default_factory=list)
    maps: dict[str, Tensor] = field(default_factory=dict)


class Method(nn.Module, ABC):
    """The base of all methods; a subclass says what differs.

    Attributes:
        name: the method's one name: of its file, chapter, tests, sweep and records.
        Switches: a frozen dataclass, one field per design decision that a row may change.
        starts_from: row whose trained network the method starts from, or "": of the baseline, or where the switches
            have a ``recognizer`` the row that it names.
        judged_by: row of the baseline that measures the method's claims, or "": a recognizer of the
            next seed, which took no part in the training.
        progress: share of the present stage that is over, 0-1; the training loop sets it, and a
            loss that grows during training reads it.
        ROWS: the ablation table: row id -> changed switches or recipe fields, by name.

    Explained in: book/baseline.ipynb
    """

    name: ClassVar[str]
    Switches: ClassVar[type]
    ROWS: ClassVar[Mapping[str, Mapping[str, Any]]]
    starts_from: ClassVar[str] = ""
    judged_by: ClassVar[str] = ""
    progress: float = 1.0

    @classmethod
    def needs(cls, switches: Any) -> frozenset[str]:
        """The FaceSet fields (``neutral``, ``landmarks`` ...) that training with these switches must have."""
        return frozenset()

    def start(self, trained: "Method") -> None:
        """Take over a trained network, by default as the part ``recognizer``."""
        self.recognizer = trained

    def stages(self) -> tuple[Stage, ...]:
        """The stages of training, in order; by default one in which everything learns."""
        modules = tuple(name for name, _ in self.named_children())
        return (Stage("train", (Player("all", modules),)),)

    def mechanism(self, loader: Loader, judge: "Method | None" = None) -> dict[str, Any]:
        """Figures on the method's own claims, measured on the faces of ``loader``; they go into the record.

        ``judge`` is a recognizer that took no part in training, where the run trained one.
        """
        return {}

    @abstractmethod
    def forward(self, image: Tensor) -> Prediction:
        """Predict from images (B, C, H, W) in [0, 1]; row b depends on image b alone."""

    @abstractmethod
    def losses(self, batch: Batch, stage: str, player: str) -> dict[str, Term]:
        """The loss terms that ``player`` lowers in ``stage``, by name."""
