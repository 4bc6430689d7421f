"""Grad-CAM has the right form and follows the class; the batch-mean head is the algebra it claims to be."""

import torch
from torch import nn

from fer_lib.data.loader import Augmentation, Loader
from fer_lib.explain import add_batch_mean, grad_cam, share_inside
from fer_lib.methods.baseline import Baseline
from fer_lib.nets.backbone import Backbone
from fer_lib.recipe import Recipe
from fer_lib.train import fit


def test_grad_cam_finds_the_spot(blobs):
    torch.manual_seed(0)
    method = Baseline(Baseline.Switches(), Backbone("resnet10_narrow", 1), 8)
    recipe = Recipe(epochs=4, lr=0.05, warmup=0.5, batch_size=16, size=32, precision="fp32")
    train = Loader(blobs(256), 16, augment=Augmentation().scaled(0.0), shuffle=True)
    fit(method, train, Loader(blobs(32, "val"), 32), recipe, log=str)
    batch = next(Loader(blobs(32, "val"), 32).epoch())
    maps = grad_cam(method, batch.image, batch.label)
    assert maps.shape == (32, 32, 32) and 0 <= maps.min() and maps.max() <= 1
    spot = (batch.image.mean(1, keepdim=True) > 0.9).float()
    found = maps.sum((1, 2)) > 0
    assert found.sum() > 20
    assert share_inside(maps, spot)[found].mean() > 1.5 * spot.mean()


def test_share_inside_by_hand():
    maps, mask = torch.ones(2, 4, 4), torch.zeros(2, 1, 4, 4)
    mask[:, :, :2] = 1
    maps[1, 2:] = 0
    assert share_inside(maps, mask).tolist() == [0.5, 1.0]


def test_batch_mean_of_features_is_batch_mean_of_logits():
    torch.manual_seed(0)
    head, feature = nn.Linear(16, 8), torch.randn(10, 16)
    order = torch.randperm(10)
    expected = torch.empty(10, 8)
    for rows in order.split(4):
        expected[rows] = head(feature[rows] + feature[rows].mean(0))
    logits = head(feature)
    assert torch.allclose(add_batch_mean(logits, order, 4, head.bias), expected, atol=1e-5)
    assert not torch.allclose(add_batch_mean(logits, torch.arange(10), 4, head.bias), expected, atol=1e-2)


def test_batch_of_one_never_changes_a_decision():
    torch.manual_seed(0)
    bias, logits = torch.zeros(8), torch.randn(50, 8)
    assert torch.equal(add_batch_mean(logits, torch.arange(50), 1, bias).argmax(1), logits.argmax(1))
