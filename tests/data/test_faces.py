"""The procedural faces: the same face always, people kept apart, expressions where they belong."""

import dataclasses

import pytest
import torch
import torch.nn.functional as F

from fer_lib.data import faces as module
from fer_lib.data.faces import (
    ACTION_UNITS,
    AU_NAMES,
    PROTOTYPES,
    Spread,
    action_units,
    draw_faces,
    make_faces,
    plain_view,
    prototype_units,
    sample_people,
)
from fer_lib.emotions import Emotion
from fer_lib.errors import FerError

FIELDS = ("images", "labels", "subjects", "landmarks", "masks", "action_units", "neutral", "neutral_landmarks")
PEOPLE = list(range(6))


@pytest.fixture(scope="module")
def faces():
    return make_faces(48, size=48, neutral=True)


def landmarks(units, size=64):
    """(N, 68, 2) of six persons with the same action units, frontal."""
    return draw_faces(sample_people(PEOPLE, rest=0.0), units, size=size).landmarks


def test_a_face_does_not_depend_on_count_or_chunk(faces):
    other = make_faces(19, size=48, neutral=True, chunk=4)
    for name in FIELDS:
        assert torch.equal(getattr(other, name), getattr(faces, name)[:19]), name


def test_several_processes_draw_the_same_faces(faces, monkeypatch):
    monkeypatch.setattr(module, "WORTH_PROCESSES", 0)
    monkeypatch.setattr(module, "BLOCK", 10)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        other = make_faces(48, size=48, neutral=True)
    finally:
        torch.set_num_threads(threads)
    for name in FIELDS:
        assert torch.equal(getattr(other, name), getattr(faces, name)), name


def test_generating_leaves_the_number_of_threads_alone(faces):
    threads = torch.get_num_threads()
    make_faces(2, size=32)
    assert torch.get_num_threads() == threads


def test_seed_and_split_decide(faces):
    same, other, val = make_faces(8, size=48), make_faces(8, size=48, seed=1), make_faces(8, "val", size=48)
    assert torch.equal(same.images, faces.images[:8])
    assert not torch.equal(same.images, other.images)
    assert not torch.equal(same.images, val.images)


def test_fingerprint_names_the_arguments():
    prints = {
        make_faces(2, size=32).fingerprint,
        make_faces(3, size=32).fingerprint,
        make_faces(2, size=33).fingerprint,
        make_faces(2, size=32, seed=1).fingerprint,
        make_faces(2, "val", size=32).fingerprint,
        make_faces(2, size=32, difficulty=0).fingerprint,
        make_faces(2, size=32, per_person=1).fingerprint,
    }
    assert len(prints) == 7
    assert make_faces(2, size=32).fingerprint == make_faces(2, size=32, chunk=1).fingerprint


def test_fields_have_their_forms(faces):
    assert faces.images.shape == faces.neutral.shape == (48, 3, 48, 48)
    assert faces.masks.shape == (48, 1, 48, 48) and set(faces.masks.unique().tolist()) == {0, 255}
    assert faces.landmarks.shape == (48, 68, 2) and faces.landmarks.dtype == torch.float32
    assert faces.action_units.shape == (48, len(ACTION_UNITS))
    assert faces.action_units.min() >= 0 and faces.action_units.max() <= 1
    assert faces.labels.dtype == faces.subjects.dtype == torch.int64
    assert faces.votes is None and faces.name == "faces"
    assert not faces.images.is_inference() and not faces.landmarks.requires_grad


def test_no_faces_at_all():
    assert make_faces(0, size=32, neutral=True).neutral.shape == (0, 3, 32, 32)


def test_classes_are_balanced_and_persons_change_expression(faces):
    assert set(faces.counts().values()) == {6}
    assert faces.labels[:8].tolist() != faces.labels[8:16].tolist()
    for person in faces.subjects.unique():
        shown = faces.labels[faces.subjects == person]
        assert len(shown) == 4 and len(shown.unique()) == 4


def test_chosen_emotions_only():
    chosen = make_faces(10, size=32, emotions=[Emotion.FEAR, Emotion.SURPRISE])
    assert chosen.counts()["fear"] == chosen.counts()["surprise"] == 5


def test_splits_share_no_person():
    subjects = [set(make_faces(12, split, size=32).subjects.tolist()) for split in ("train", "val", "test")]
    assert not subjects[0] & subjects[1] and not subjects[0] & subjects[2] and not subjects[1] & subjects[2]


def test_landmarks_lie_in_the_picture(faces):
    inside = ((faces.landmarks > 0) & (faces.landmarks < 47)).all(-1)
    assert inside.float().mean() > 0.98


def test_landmarks_lie_on_the_eyes_that_are_drawn():
    drawn = draw_faces(
        sample_people(PEOPLE), action_units(), plain_view(1, yaw=20, pitch=8, roll=10), size=128
    )
    for row in range(len(PEOPLE)):
        for eye in (slice(36, 42), slice(42, 48)):
            x, y = drawn.landmarks[row, eye].mean(0).round().int().tolist()
            around = drawn.image[row, :, y - 6 : y + 7, x - 6 : x + 7].mean(0)
            assert around.min() < 0.12, "the pupil is at the middle of the eye"


def test_smile_lifts_and_sadness_lowers_the_corners_of_the_mouth():
    rest, smile, sad = (
        landmarks(prototype_units(torch.tensor([e])))
        for e in (Emotion.NEUTRAL, Emotion.HAPPINESS, Emotion.SADNESS)
    )
    corners = [48, 54]
    assert (smile[:, corners, 1] < rest[:, corners, 1] - 1).all()
    assert (sad[:, corners, 1] > rest[:, corners, 1] + 0.5).all()
    assert (smile[:, 54, 0] - smile[:, 48, 0] > rest[:, 54, 0] - rest[:, 48, 0]).all()


def test_brows_follow_their_action_units():
    rest, inner, outer, frown = (
        landmarks(action_units(**{name: 1.0} if name else {})) for name in ("", "AU1", "AU2", "AU4")
    )
    assert (inner[:, [21, 22], 1] < rest[:, [21, 22], 1] - 1).all()
    assert (outer[:, [17, 26], 1] < rest[:, [17, 26], 1] - 1).all()
    assert (frown[:, 17:27, 1] > rest[:, 17:27, 1]).all()
    assert (frown[:, 22, 0] - frown[:, 21, 0] < rest[:, 22, 0] - rest[:, 21, 0]).all()


def test_lids_and_jaw_follow_their_action_units():
    rest, wide, shut, drop = (
        landmarks(action_units(**{name: 1.0} if name else {})) for name in ("", "AU5", "AU43", "AU26")
    )
    opening = lambda points: points[:, 41, 1] - points[:, 37, 1]  # noqa: E731
    assert (opening(wide) > opening(rest) + 0.5).all() and (opening(shut) < 0.3 * opening(rest)).all()
    assert (drop[:, 8, 1] > rest[:, 8, 1] + 1).all() and (drop[:, 66, 1] - drop[:, 62, 1] > 1).all()


def test_contempt_is_one_sided():
    left, right = (
        landmarks(prototype_units(torch.tensor([Emotion.CONTEMPT]), left=side)) for side in (True, False)
    )
    assert (left[:, 48, 1] < left[:, 54, 1] - 0.5).all()
    assert (right[:, 54, 1] < right[:, 48, 1] - 0.5).all()


def test_the_mask_holds_most_of_the_expression(faces):
    change = (faces.images.float() - faces.neutral.float()).square().sum(1, keepdim=True)
    mask = F.max_pool2d((faces.masks > 0).float(), 5, 1, 2)
    assert mask.mean() < 0.4
    assert (change * mask).sum() / change.sum() > 0.65
    shut = (
        faces.action_units[:, ACTION_UNITS.index("AU26")] < 0.05
    )  # a falling jaw moves the outline of the face
    assert (change * mask)[shut].sum() / change[shut].sum() > 0.8


def test_the_twin_of_a_face_without_action_units_is_itself():
    calm = make_faces(6, size=48, neutral=True, difficulty=0, emotions=[Emotion.NEUTRAL])
    assert calm.action_units.max() == 0
    assert torch.equal(calm.images, calm.neutral) and torch.equal(calm.landmarks, calm.neutral_landmarks)


def test_the_twin_differs_in_the_landmarks_of_the_expression_alone(faces):
    moved = (faces.landmarks - faces.neutral_landmarks).norm(dim=-1)
    shown = faces.labels != Emotion.NEUTRAL
    assert moved[shown, 17:].amax(1).min() > 0.1 and moved[:, 27:31].max() < 1e-3, "the nose bridge stays"


def test_no_difficulty_means_the_prototype():
    clean = make_faces(8, size=32, difficulty=0)
    wanted = torch.stack([prototype_units(label[None])[0].amax(-1) for label in clean.labels])
    torch.testing.assert_close(clean.action_units, wanted)


def test_spread_scales_every_setting():
    half, full = Spread.at(0.5), Spread.at(1.0)
    for name, value in dataclasses.asdict(full).items():
        assert getattr(half, name) == pytest.approx(value / 2)


def test_sizes_show_the_same_face():
    people, view, units = (
        sample_people(PEOPLE),
        plain_view(1, yaw=12),
        prototype_units(torch.tensor([Emotion.HAPPINESS])),
    )
    large, small = (draw_faces(people, units, view, size=size).image for size in (128, 64))
    assert (F.avg_pool2d(large, 2) - small).abs().mean() < 0.02


def test_skin_spans_the_human_range():
    skin = sample_people(list(range(200)))["skin"].mean(1)
    assert skin.min() < 0.04 and skin.max() > 0.6


def test_extreme_poses_stay_clean():
    view = plain_view(5)
    view["yaw"] = torch.tensor([-30.0, 30, 0, 0, 25])
    view["pitch"] = torch.tensor([0.0, 0, 20, -20, 15])
    image = draw_faces(sample_people([3]), action_units(AU27=1.0, AU12=1.0), view, size=64).image
    assert image.isfinite().all() and image.min() >= 0 and image.max() <= 1


def test_action_units_are_named():
    assert AU_NAMES["AU12"] == "lip corner puller"
    assert set(PROTOTYPES) == set(Emotion)
    assert all(set(units) <= set(ACTION_UNITS) for units in PROTOTYPES.values())


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"split": "dev"}, "there is no split 'dev'; take one of train, val, test."),
        ({"size": 20}, "must lie between 32 and 512 pixels, not 20."),
        ({"count": -1}, "count must be 0 or more, not -1."),
        ({"emotions": [9]}, "unknown emotion 9; take members of Emotion"),
        ({"emotions": []}, "no emotion; take members of Emotion"),
        ({"difficulty": 2}, "must be 'default' or lie between 0 and 1, not 2."),
        ({"difficulty": "hard"}, "not 'hard'."),
        ({"per_person": 0}, "per_person and chunk must be 1 or more"),
    ],
)
def test_bad_arguments_are_named(arguments, sentence):
    with pytest.raises(FerError) as error:
        make_faces(**{"count": 2, **arguments})
    assert sentence in str(error.value)


def test_draw_faces_names_what_does_not_fit():
    with pytest.raises(FerError, match="units must have the shape"):
        draw_faces(sample_people([1]), torch.zeros(1, 3))
    with pytest.raises(FerError, match="do not fit together"):
        draw_faces(sample_people([1, 2]), action_units().repeat(3, 1))
    with pytest.raises(FerError, match="there is no action unit AU99"):
        action_units(AU99=1.0)
    with pytest.raises(FerError, match="plain_view has no 'jaw'"):
        plain_view(1, jaw=1.0)
