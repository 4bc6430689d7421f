"""Stage maps have the promised shapes; wrong names and files are refused in one sentence."""

import pytest
import torch
from safetensors.torch import save_file

from fer_lib.data.degrade import upsample
from fer_lib.errors import FerError
from fer_lib.nets.backbone import Backbone


@pytest.mark.parametrize("stride", [1, 2, 4])
@pytest.mark.parametrize("name", ["resnet10_narrow", "resnet18"])
def test_four_stage_maps(name, stride):
    backbone = Backbone(name, stride)
    maps = backbone(torch.rand(2, 3, 64, 64))
    assert [m.shape[1] for m in maps] == backbone.channels
    assert [m.shape[-1] for m in maps] == [64 // stride // 2**k for k in range(4)]
    assert backbone.stride == stride


def test_any_timm_model_with_stage_maps():
    backbone = Backbone("mobilenetv3_small_050")
    maps = backbone(torch.rand(1, 3, 64, 64))
    assert [m.shape[-1] for m in maps] == [16, 8, 4, 2] and backbone.stride == 4


def test_grey_is_repeated():
    backbone, grey = Backbone("resnet10_narrow", 2).eval(), torch.rand(2, 1, 32, 32)
    assert all(torch.equal(a, b) for a, b in zip(backbone(grey), backbone(grey.expand(-1, 3, -1, -1)), strict=True))


def test_weights_from_a_file(tmp_path):
    source, path = Backbone("resnet10_narrow", 2), tmp_path / "w.safetensors"
    save_file(source.body.state_dict(), path)
    loaded = Backbone("resnet10_narrow", 2, str(path))
    assert torch.equal(loaded.body.layer1[0].conv1.weight, source.body.layer1[0].conv1.weight)
    with pytest.raises(FerError, match="lacks .* parameters, .* wrong model"):
        Backbone("resnet18_narrow", 2, str(path))
    path.write_bytes(b"not weights")
    with pytest.raises(FerError, match="cannot be used"):
        Backbone("resnet10_narrow", 2, str(path))
    with pytest.raises(FerError, match="does not exist"):
        Backbone("resnet10_narrow", 2, str(tmp_path / "none"))


def test_refusals():
    with pytest.raises(FerError, match="'resnet1' is not a timm model with stage maps"):
        Backbone("resnet1")
    with pytest.raises(FerError, match="cannot take stem_stride=2"):
        Backbone("mobilenetv3_small_050", 2)
    with pytest.raises(FerError, match="cannot take stem_stride=3"):
        Backbone("resnet18", 3)


def test_a_small_image_is_enlarged_to_the_size_of_the_recognizer():
    backbone, small = Backbone("resnet10_narrow", 2, size=32).eval(), torch.rand(2, 3, 8, 8)
    assert all(torch.equal(a, b) for a, b in zip(backbone(small), backbone(upsample(small, 32)), strict=True))
