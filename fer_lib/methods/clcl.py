"""CLCL: shallow stages are led to the clusters of the deep one, by channels and by faces [xie2024clcl].

Shapes follow the released code; the losses are our repair of it, with the release's own kept beside them.
"""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fer_lib.data.loader import Batch, Loader
from fer_lib.emotions import NAMES
from fer_lib.errors import FerError
from fer_lib.methods.latent import (
    VARIANTS,
    Anchors,
    alignment,
    centre,
    cluster_loss,
    find_anchors,
    find_members,
    hash_code,
    position_code,
    strangers,
)
from fer_lib.methods.method import Method, Prediction, Term
from fer_lib.methods.probes import channel_parts, effective_rank, gradient_sizes, linear_probe, part_map, rand_index
from fer_lib.nets.backbone import Backbone
from fer_lib.nets.clusters import nearest
from fer_lib.nets.multiscale import MapHead, MultiScale
from fer_lib.parallel import gather

SHARED = 64  # faces to a batch, as in the release's evaluation
CLUSTERED = 256  # faces that are clustered together when a trained network is measured


def _rows() -> dict[str, dict[str, Any]]:
    alone = {"clbs": 0.0, "clfm": 0.0}
    rows: dict[str, dict[str, Any]] = {
        "B0": {**alone, "scales": "none"},
        "B1-sum": {**alone, "scales": "sum"},
        "B1": alone,
        "B1-softmax": {**alone, "scales": "softmax"},
        "B2": {"clfm": 0.0},
        "B3": {"clbs": 0.0},
        "B4": {},
        "B4-all": {"train_images": 0, "epochs": 14},
        "B4-votes": {"train_images": 0, "epochs": 40, "target": "votes"},
        "B4-release": {"variant": "release", "stages": "2"},
        "B4-infonce": {"variant": "infonce"},
        "B4-label": {"clusters": "label"},
    }
    rows |= {f"B5-{k}": {"stages": k} for k in "123"}
    rows |= {f"B6-faces{k}": {"face_clusters": k} for k in (4, 14)}
    rows |= {f"B6-channels{k}": {"channel_clusters": k} for k in (2, 8)}
    rows |= {name: {"clbs": x, "clfm": x} for name, x in (("B7-half", 0.05), ("B7-five", 0.5), ("B7-twenty", 2.0))}
    return rows | {
        "B3-twenty": {"clbs": 0.0, "clfm": 2.0},
        "C1": {**alone, "auxiliary": 0.1},
        "C1-twenty": {**alone, "auxiliary": 2.0},
        "C2": {"clusters": "shuffled"},
        "C2-twenty": {"clusters": "shuffled", "clbs": 2.0, "clfm": 2.0},
        "C2-stranger": {"clusters": "stranger", "clbs": 0.0},
        "C2-stranger-twenty": {"clusters": "stranger", "clbs": 0.0, "clfm": 2.0},
        "C3": {"batch_mean": "on"},
        "C3-running": {"batch_mean": "running"},
    }


class CLCL(Method):
    """Backbone, fused scales, a head; in training, two contrasts between shallow stages and the deep one.

    Explained in: book/clcl.ipynb
    """

    @dataclass(frozen=True)
    class Switches:
        """What is fused, what is aligned with what, and what counts how much.

        Attributes:
            scales: ``sum``, ``gate`` or ``softmax``, see :class:`fer_lib.nets.multiscale.MultiScale`; ``none`` is the
                baseline's head on the last stage alone.
            width: channels of the fused map; 0 is 64 beside a narrow recognizer, else 128.
            batch_mean: ``off``, ``on`` or ``running``, see :class:`fer_lib.nets.multiscale.MapHead`.
            clbs, clfm: weight of the contrast over the batch's faces, and over a face's channels; 0 leaves it out.
            variant: ``repaired``, ``release`` or ``infonce``, see :func:`fer_lib.methods.latent.cluster_loss`.
            clusters: ``kmeans``; ``label``: faces are clustered by their emotion; ``shuffled``: clusters are
                led to a centroid that is not theirs, another one in every step; ``stranger``: channels are led to
                the clusters of another face.
            stages: the shallow stages that are aligned, as digits.
            face_clusters, channel_clusters: how many.
            auxiliary: weight of a classifier of its own on each stage of ``stages`` (deep supervision).

        Raises:
            FerError: if a value is none of these.

        Explained in: book/clcl.ipynb
        """

        scales: str = "gate"
        width: int = 0
        batch_mean: str = "off"
        clbs: float = 0.1
        clfm: float = 0.1
        variant: str = "repaired"
        clusters: str = "kmeans"
        stages: str = "123"
        face_clusters: int = 7
        channel_clusters: int = 4
        auxiliary: float = 0.0

        def __post_init__(self):
            known = {"scales": ("none", "sum", "gate", "softmax"), "batch_mean": ("off", "on", "running")}
            known |= {"variant": VARIANTS, "clusters": ("kmeans", "label", "shuffled", "stranger")}
            for name, values in known.items():
                if getattr(self, name) not in values:
                    raise FerError(f"{name} cannot be '{getattr(self, name)}': choose one of {', '.join(values)}.")
            if not self.stages or set(self.stages) - set("123"):
                raise FerError(f"stages cannot be '{self.stages}': write the numbers of shallow stages, as 2 or 123.")
            if min(self.face_clusters, self.channel_clusters) < 2:
                raise FerError("face_clusters and channel_clusters must be 2 or more.")
            if self.clusters == "stranger" and self.clbs:
                raise FerError("The faces of a batch are one set, without a stranger: with clusters=stranger set clbs=0.")
            if self.scales == "none" and (self.clbs or self.batch_mean != "off"):
                raise FerError("With scales=none there is no fused map: set clbs=0 and batch_mean=off.")

    name = "clcl"
    ROWS = _rows()

    def __init__(self, switches: Switches, backbone: Backbone, classes: int):
        super().__init__()
        self.switches, self.classes, self.backbone = switches, classes, backbone
        if switches.scales == "none":
            self.head = nn.Linear(backbone.channels[-1], classes)
        else:
            width = switches.width or (64 if backbone.narrow else 128)
            self.scales = MultiScale(backbone, width, switches.scales)
            self.head = MapHead(width, classes, switches.batch_mean)
            if switches.clbs:
                self.samples = nn.ModuleList(nn.Conv2d(width, 4, 3, padding=1) for _ in range(4))
        if switches.auxiliary:
            self.auxiliary = nn.ModuleList(nn.Linear(backbone.channels[int(j) - 1], classes) for j in switches.stages)

    def forward(self, image: Tensor) -> Prediction:
        stages = self.backbone(image)
        if self.switches.scales == "none":
            return Prediction(self.head(stages[-1].mean(dim=(2, 3))), stages)
        fused, scales, weights = self.scales(stages)
        maps = {"scale_weights": weights, "head_map": self.head.features(fused)}
        maps |= {f"scale_{j}": scale for j, scale in enumerate(scales, 1)}
        return Prediction(self.head.read(maps["head_map"]), stages, maps)

    def losses(self, batch: Batch, stage: str, player: str) -> dict[str, Term]:
        return self.terms(self(batch.image), batch)

    def terms(self, seen: Prediction, batch: Batch) -> dict[str, Term]:
        """The loss terms of a prediction; the contrasts are over the faces of all processes."""
        s = self.switches
        terms = {"cross-entropy": Term(F.cross_entropy(seen.logits.float(), batch.target))}
        if s.clbs:
            codes = [gather(code)[None] for code in self.face_codes(seen)]  # one set of B faces
            by_label = s.clusters == "label"
            k, own = (self.classes, gather(batch.label)[None]) if by_label else (min(s.face_clusters, codes[0].shape[1]), None)
            terms["CLBS"] = Term(self._contrast(codes, k, own), s.clbs)
        if s.clfm and s.variant == "release":
            codes = [gather(hash_code(stage)) for stage in seen.stages]
            terms["CLFM"] = Term(self._contrast(codes, s.channel_clusters, axis=1), s.clfm)
        elif s.clfm:
            codes = [gather(code) for code in self.channel_codes(seen)]  # B sets of channels
            terms["CLFM"] = Term(self._contrast(codes, s.channel_clusters), s.clfm)
        if s.auxiliary:
            pooled = [seen.stages[int(j) - 1].mean(dim=(2, 3)) for j in s.stages]
            logits = [head(x).float() for head, x in zip(self.auxiliary, pooled, strict=True)]
            terms["auxiliary"] = Term(sum(F.cross_entropy(x, batch.target) for x in logits), s.auxiliary)
        return terms

    def face_codes(self, seen: Prediction) -> list[Tensor]:
        """What each scale says of a face: four of (B, 484)."""
        scales = [seen.maps[f"scale_{j}"].sigmoid() for j in range(1, 5)]
        return [conv(x).flatten(1).float() for conv, x in zip(self.samples, scales, strict=True)]

    def channel_codes(self, seen: Prediction) -> list[Tensor]:
        """Where each channel of a stage fires: four of (B, C, 4)."""
        return [position_code(stage, seen.stages[-1].shape[-1]) for stage in seen.stages]

    def _contrast(self, codes: list[Tensor], k: int, own: Tensor | None = None, axis: int = 2) -> Tensor:
        """Sum over the aligned stages; ``codes`` of four stages, (G, N, D) each."""
        s = self.switches
        if s.variant != "release":
            codes = [centre(code) for code in codes]
        anchors = found = find_anchors(codes[-1], k, own)
        if s.clusters == "shuffled":
            shift = int(torch.randint(1, k, ()))
            anchors = Anchors(found.centroids.roll(shift, 1), found.own, found.filled.roll(shift, 1))
        elif s.clusters == "stranger":
            anchors = found = strangers(found)
        members = [find_members(codes[int(j) - 1], found, own) for j in s.stages]
        return sum(cluster_loss(means, filled, anchors, s.variant, axis) for means, filled in members)

    def mechanism(self, loader: Loader, judge: Method | None = None) -> dict[str, Any]:
        """Per stage: linear probe, gradients, alignment, channels and parts; for a batch mean, who shares the batch.

        Returns:
            ``intensity_{term}_{j}`` at stage j: :func:`gradient_size`, of the first 64 faces and their labels, whatever target was learned; ``probe``: accuracy of
            :func:`linear_probe` by stage; ``align_{channels, faces}_{own, shuffled, stranger, filled}_{j}``: see
            :func:`fer_lib.methods.latent.alignment`; ``rank_{channels, faces}_{j}``: :func:`effective_rank` of the codes;
            ``parts_{j}``: Rand index of channel clusters and parts. With CLBS ``emotions``: Rand index of face clusters
            and labels; ``agree_{j}``: of a stage's choice of clusters and the deep one; ``kept_{j}``: share of faces that
            keep their cluster. ``scales``: mean weight of each scale, and ``scales_by_emotion``. ``neighbours``: accuracy by
            who shares the batch. Faces are clustered ``CLUSTERED`` at a time.
        """
        was_training = self.training
        self.eval()
        loader = Loader(loader.faces, CLUSTERED, loader.device, loader.size, degrade=loader.degrade)
        figures = self._pulls(next(Loader(loader.faces, SHARED, loader.device, loader.size, degrade=loader.degrade).epoch()))
        rows: dict[str, list[Tensor]] = {}
        with torch.no_grad():
            for batch in loader.epoch():
                for name, values in self._look(batch).items():
                    rows.setdefault(name, []).append(values.float().cpu())
            found = {name: torch.cat(values) for name, values in rows.items()}
            labels = found.pop("label").long()
            pooled = [found.pop(f"pooled_{j}") for j in range(1, 5)]
            maps = found.pop("head_map", None)
            if maps is not None and self.switches.batch_mean != "off":
                figures["neighbours"] = self._neighbours(maps.to(loader.device), labels)
        if "scale_weights" in found:
            weights = found.pop("scale_weights")  # (N, 4)
            figures["scales"] = weights.mean(0).tolist()
            figures["scales_by_emotion"] = {NAMES[k]: weights[labels == k].mean(0).tolist() for k in labels.unique().tolist()}
        figures["probe"] = {str(j): linear_probe(x, labels, loader.faces.subjects) for j, x in enumerate(pooled, 1)}
        figures |= {name: values.nanmean().item() for name, values in found.items() if not values.isnan().all()}
        self.train(was_training)
        return figures

    def _pulls(self, batch: Batch) -> dict[str, Any]:
        with torch.enable_grad():
            seen = self(batch.image)
            terms = self.terms(seen, batch)
        sizes = gradient_sizes(terms, seen.stages)
        return {f"intensity_{name}_{j}": x for name, size in sizes.items() for j, x in enumerate(size, 1)}

    def _look(self, batch: Batch) -> dict[str, Tensor]:
        """What is averaged over all batches; codes are the repaired ones in every variant, so that rows compare."""
        seen, s = self(batch.image), self.switches
        figures = {f"pooled_{j}": F.adaptive_avg_pool2d(x, 2).flatten(1) for j, x in enumerate(seen.stages, 1)}
        figures["label"] = batch.label
        if "head_map" in seen.maps:
            figures |= {name: seen.maps[name] for name in ("head_map", "scale_weights")}
        codes = {"channels": (self.channel_codes(seen), s.channel_clusters)}
        if s.clbs:
            faces = [code[None] for code in self.face_codes(seen)]
            codes["faces"] = (faces, min(s.face_clusters, len(batch.label)))
        anchors = {what: find_anchors(centre(parts[3]), k) for what, (parts, k) in codes.items()}
        for what, (parts, _) in codes.items():
            figures |= {f"rank_{what}_{j}": effective_rank(code) for j, code in enumerate(parts, 1)}
            for j in range(3):
                found = alignment(parts[j], anchors[what])
                # The faces of a batch are one set: there is no other one to be a stranger.
                kept = found if what == "channels" else {k: v for k, v in found.items() if k != "stranger"}
                figures |= {f"align_{what}_{name}_{j + 1}": value for name, value in kept.items()}
        if s.clbs:
            centroids, own, _ = anchors["faces"]
            figures["emotions"] = rand_index(own, batch.label[None])
            for j in range(3):
                chosen = nearest(centre(faces[j]), centroids)
                figures |= {f"agree_{j + 1}": rand_index(chosen, own), f"kept_{j + 1}": (chosen == own).float()[0]}
        if batch.landmarks is not None and batch.landmarks.shape[1] == 68:
            size = (batch.image if batch.clean is None else batch.clean).shape[-1]
            owner = [part_map(batch.landmarks, size, x.shape[-1]) for x in seen.stages]
            for j in range(4):
                own = nearest(centre(codes["channels"][0][j]), anchors["channels"].centroids)
                figures[f"parts_{j + 1}"] = rand_index(own, channel_parts(seen.stages[j], owner[j]))
        return figures

    def _neighbours(self, maps: Tensor, labels: Tensor) -> dict[str, float]:
        """Accuracy of one network by who shares a batch."""
        shuffled = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
        ordered = labels.argsort(stable=True)
        orders = {"1": (shuffled, 1), "64 in order": (ordered, SHARED), "64 shuffled": (shuffled, SHARED)}
        return {
            name: (self.read_in_batches(maps, order, size).argmax(1) == labels).float().mean().item()
            for name, (order, size) in orders.items()
        }

    @torch.no_grad()
    def read_in_batches(self, maps: Tensor, order: Tensor, size: int) -> Tensor:
        """Logits (N, K) of head maps (N, 121) that come in this order, so many to a batch; row i still face i."""
        logits = torch.empty(len(maps), self.classes)
        for rows in order.split(size):
            logits[rows] = self.head.read(maps[rows]).float().cpu()
        return logits
