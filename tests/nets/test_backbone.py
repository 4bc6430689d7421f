"""Stage maps have the promised shapes; wrong names and files are refused in one sentence."""

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

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


@pytest.mark.parametrize(("side", "stride"), [(1, 1), (2, 1), (3, 2), (4, 1), (7, 2), (8, 2)])
def test_a_wide_layer_on_a_small_map_is_the_convolution_that_it_was(side, stride):
    backbone = Backbone("resnet18").to(memory_format=torch.channels_last)
    layers = [m for m in backbone.modules() if isinstance(m, nn.Conv2d) and m.in_channels == 256 and m.kernel_size == (3, 3)]
    layer = next(m for m in layers if m.stride[0] == stride)
    assert type(layer) is not nn.Conv2d
    x = torch.rand(3, 256, side, side).to(memory_format=torch.channels_last).requires_grad_()
    found, plain = layer(x), nn.Conv2d.forward(layer, x)
    assert found.shape == plain.shape and found.stride() == plain.stride()
    assert torch.allclose(found, plain, atol=1e-5)
    up = torch.randn_like(plain)
    for mine, theirs in zip(*(torch.autograd.grad(y, (x, layer.weight), up) for y in (found, plain)), strict=True):
        assert torch.allclose(mine, theirs, atol=1e-4)


def test_narrow_networks_and_large_maps_keep_pytorchs_convolution(monkeypatch):
    assert all(type(m) is nn.Conv2d for m in Backbone("resnet18_narrow").modules() if isinstance(m, nn.Conv2d))
    called = []
    monkeypatch.setattr(nn.Conv2d, "forward", lambda self, x: called.append(self) or self._conv_forward(x, self.weight, self.bias))
    backbone = Backbone("resnet18").eval()
    backbone(torch.rand(1, 3, 32, 32))
    few = len(called)
    backbone(torch.rand(1, 3, 224, 224))
    assert 0 < few < len(called) - few == sum(isinstance(m, nn.Conv2d) for m in backbone.modules())


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
