"""Batches: order, resizing, and an augmentation in which everything moves together."""

import pytest
import torch
from dataclasses import replace

from fer_lib.data.landmarks import MIRROR
from fer_lib.data.loader import TARGETS, Augmentation, Batch, Loader, augment_batch, smooth
from fer_lib.errors import FerError

STILL = Augmentation(flip=0.0).scaled(0.0)


def spots(count=6, size=64):
    """Black images with one white dot each, and a landmark of each of 68 on that dot."""
    torch.manual_seed(0)
    where = torch.randint(size // 4, 3 * size // 4, (count, 2))
    image = torch.zeros(count, 1, size, size)
    image[torch.arange(count), 0, where[:, 1], where[:, 0]] = 1
    landmarks = where[:, None].float().expand(-1, 68, -1)
    label = torch.arange(count)
    return Batch(image, label, label, neutral=image.clone(), mask=image.clone(), landmarks=landmarks, neutral_landmarks=landmarks.clone())


def centre(image):
    """Centre of brightness, (x, y) in pixels."""
    size = image.shape[-1]
    mass, axis = image[:, 0] / image[:, 0].sum((1, 2), keepdim=True), torch.arange(size).float()
    return torch.stack([(mass.sum(1) * axis).sum(1), (mass.sum(2) * axis).sum(1)], 1)


def test_no_amounts_change_nothing():
    batch = spots()
    after = augment_batch(batch, STILL, torch.rand(6, 12))
    assert torch.allclose(after.image, batch.image, atol=1e-5)
    assert torch.allclose(after.landmarks, batch.landmarks, atol=1e-3)


@pytest.mark.parametrize("flip", [0.0, 1.0])
def test_image_twin_mask_and_landmarks_move_together(flip):
    amounts = replace(Augmentation(light=0.0, erase=0.0), flip=flip)
    batch = spots()
    after = augment_batch(batch, amounts, torch.rand(6, 12))
    moved = centre(after.image)
    assert (moved - centre(batch.image)).abs().max() > 2
    assert torch.allclose(after.landmarks, moved[:, None].expand(-1, 68, -1), atol=0.6)
    assert torch.equal(after.image, after.neutral) and torch.equal(after.image, after.mask)
    assert torch.equal(after.landmarks, after.neutral_landmarks)


def test_mirror_is_an_involution_and_swaps_sides():
    for points, order in MIRROR.items():
        assert torch.equal(order[order], torch.arange(points)) and len(order) == points
    assert [MIRROR[68][i].item() for i in (0, 8, 17, 27, 36, 48, 51, 60)] == [16, 8, 26, 27, 45, 54, 51, 64]
    batch = spots(2)
    batch.landmarks = torch.rand(2, 68, 2) * 63
    after = augment_batch(batch, replace(STILL, flip=1.0), torch.rand(2, 12))
    assert torch.allclose(after.landmarks[:, 0, 0], 63 - batch.landmarks[:, 16, 0], atol=1e-3)
    assert torch.allclose(after.landmarks[:, 48, 1], batch.landmarks[:, 54, 1], atol=1e-3)


def test_a_face_is_augmented_by_its_own_draws():
    batch, draws = spots(), torch.rand(6, 12)
    together = augment_batch(batch, Augmentation(), draws)
    for i in range(6):
        one = Batch(batch.image[i : i + 1], batch.label[i : i + 1], batch.index[i : i + 1])
        alone = augment_batch(one, Augmentation(), draws[i : i + 1])
        assert torch.allclose(alone.image, together.image[i : i + 1], atol=1e-5)


def test_light_and_painted_rectangle():
    torch.manual_seed(0)
    image = torch.rand(200, 1, 32, 32)
    label = torch.zeros(200, dtype=torch.long)
    batch = Batch(image, label, label, neutral=image.clone())
    lit = augment_batch(batch, replace(STILL, light=0.3), torch.rand(200, 12))
    assert torch.equal(lit.image, lit.neutral) and (lit.image - image).abs().max() > 0.05
    assert 0 <= lit.image.min() and lit.image.max() <= 1
    painted = augment_batch(batch, replace(STILL, erase=0.5), torch.rand(200, 12))
    share = ((painted.image - image).abs() > 1e-3).float().mean((1, 2, 3))
    assert 0.35 < (share > 0.005).float().mean() < 0.65
    assert share.max() <= 0.45**2 and torch.equal(painted.neutral, painted.image), "image and twin differ by nothing else"


def test_epochs_repeat_by_number_and_differ_between(blobs):
    loader = Loader(blobs(40), 16, augment=Augmentation(), sampler="shuffled", seed=7)
    first, again, other = (list(loader.epoch(k)) for k in (0, 0, 1))
    assert len(loader) == len(first) == 2
    assert all(torch.equal(a.image, b.image) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0].index, other[0].index)


def test_in_order_every_face_once_at_any_size(blobs):
    faces = blobs(40)
    loader = Loader(faces, 16, size=24)
    batches = list(loader.epoch())
    assert torch.equal(torch.cat([b.index for b in batches]), torch.arange(40)) and len(loader) == 3
    assert batches[0].image.shape == (16, 3, 24, 24) and batches[0].image.max() <= 1


def test_the_target_is_the_label_unless_a_distribution_is_asked_for(blobs):
    faces = blobs(8)
    targets = {name: next(Loader(faces, 8, target=name, smoothing=0.4).epoch()).target for name in TARGETS}
    assert torch.equal(targets["hard"], faces.labels) and torch.equal(targets["votes"], faces.votes)
    assert torch.equal(targets["smooth"], smooth(faces.labels, faces.classes, 0.4))
    by_hand = torch.full((8,), 0.4 / faces.classes)
    assert torch.allclose(targets["smooth"][0], by_hand[: faces.classes] + 0.6 * (torch.arange(faces.classes) == faces.labels[0]))


def test_a_target_moves_with_its_face(blobs):
    faces = blobs(32)
    batch = next(Loader(faces, 16, augment=Augmentation(), sampler="shuffled", target="votes").epoch())
    assert torch.equal(batch.target, faces.votes[batch.index])
    assert torch.equal(batch.target.argmax(1), batch.label)


def test_a_target_that_cannot_be(blobs):
    with pytest.raises(FerError, match="There is no target 'vote': choose one of hard, smooth, votes"):
        Loader(blobs(4), 4, target="vote")
    with pytest.raises(FerError, match="blobs has no votes: choose target=hard or target=smooth"):
        Loader(replace(blobs(4), votes=None), 4, target="votes")


def test_landmarks_follow_the_resizing(blobs):
    faces = replace(blobs(4), landmarks=torch.full((4, 68, 2), 31.5 - 8), neutral_landmarks=torch.full((4, 68, 2), -0.5))
    batch = next(Loader(faces, 4, size=64).epoch())
    assert torch.allclose(batch.landmarks, torch.tensor(47.5)) and (batch.neutral_landmarks == -0.5).all()


def test_unknown_landmarks_cannot_be_mirrored(blobs):
    faces = replace(blobs(4), landmarks=torch.zeros(4, 21, 2))
    with pytest.raises(FerError, match="21 landmarks cannot be mirrored: train with flip=0"):
        Loader(faces, 4, augment=Augmentation())


def test_a_balanced_epoch_draws_every_class_alike(blobs):
    faces = blobs(2000)
    rare = replace(faces, labels=(torch.arange(2000) % 100 == 0).long() * 3)
    batches = list(Loader(rare, 50, sampler="balanced", seed=1).epoch(2))
    drawn = torch.cat([b.label for b in batches])
    assert len(batches) == 40 and 0.46 < (drawn == 3).float().mean() < 0.54
    again = torch.cat([b.index for b in Loader(rare, 50, sampler="balanced", seed=1).epoch(2)])
    assert torch.equal(torch.cat([b.index for b in batches]), again)


def test_an_unknown_sampler(blobs):
    with pytest.raises(FerError, match="There is no sampler 'random': choose one of listed, shuffled, balanced"):
        Loader(blobs(4), 4, sampler="random")
