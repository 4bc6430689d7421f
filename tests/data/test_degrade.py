"""Degradations against independent implementations, and free of the batch."""

import numpy as np
import pytest
import torch
from kornia.color import rgb_to_linear_rgb
from PIL import Image
from scipy import stats

from fer_lib.data import degrade
from fer_lib.data.degrade import LowLight, low_light, low_resolution, realistic_low_resolution, upsample
from fer_lib.data.hashing import uniform
from fer_lib.errors import FerError

INDEX = torch.tensor([0, 5, 7, 2**40, 11])


def pictures(channels: int = 3, height: int = 48, width: int = 48) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    rough = torch.rand(len(INDEX), channels, 9, 9, generator=generator)
    return torch.nn.functional.interpolate(rough, size=(height, width), mode="bilinear")


RANDOM = {
    "low light": lambda image, index, seed=0: low_light(image, "severe", index, seed),
    "low resolution": lambda image, index, seed=0: realistic_low_resolution(image, 2, index, seed),
}
ALL = RANDOM | {"mild": lambda image, index: low_light(image, "mild", index)}
ALL |= {f"bicubic {k}": lambda image, index, k=k: low_resolution(image, k) for k in (2, 4, 8)}


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("channels", [1, 3])
def test_an_image_never_depends_on_its_batch(name, channels):
    image = pictures(channels)
    whole = ALL[name](image, INDEX)
    for rows in ([3], [4, 0], [2, 2, 1]):
        assert torch.equal(whole[rows], ALL[name](image[rows], INDEX[rows]))
    assert torch.equal(whole, ALL[name](image.to(memory_format=torch.channels_last), INDEX))


@pytest.mark.parametrize("name", ALL)
def test_the_result_is_an_8_bit_image(name):
    result = ALL[name](pictures(), INDEX)
    assert result.dtype == torch.float32 and 0 <= result.min() and result.max() <= 1
    assert torch.allclose(result * 255, (result * 255).round(), atol=1e-4)


@pytest.mark.parametrize("name", RANDOM)
def test_image_number_and_seed_decide_the_noise(name):
    image = pictures()[:1].expand(2, -1, -1, -1)
    first, second = RANDOM[name](image, INDEX[:2])
    assert not torch.equal(first, second)
    assert not torch.equal(first, RANDOM[name](image, INDEX[:2], seed=1)[0])
    assert torch.equal(first, RANDOM[name](image, INDEX[:2], seed=0)[0])


def test_severities_get_darker_and_noisier():
    grey = torch.full((1, 1, 128, 128), 128 / 255)
    results = [low_light(grey, name, INDEX[:1]) * 255 for name in degrade.SEVERITIES]
    assert [round(float(r.mean())) for r in results] == pytest.approx([61, 28, 9], abs=1)
    noise = [float(r.std() / r.mean()) for r in results]
    assert noise[0] < 0.05 < noise[1] < 0.2 < 0.5 < noise[2]


def test_neutral_parameters_change_nothing():
    image = degrade.quantize(pictures())
    changed = low_light(image, LowLight(photons=1e9), INDEX)
    assert (changed - image).abs().max() <= 1 / 255 + 1e-6
    assert (changed == image).float().mean() > 0.99


def test_low_light_has_the_mean_and_variance_of_its_formula(monkeypatch):
    monkeypatch.setattr(degrade, "quantize", lambda image: image)
    dark = LowLight(exposure=0.4, gamma=1.3, photons=300.0, reading=0.01)
    image = torch.full((1, 1, 400, 400), 0.7)
    seen = degrade.srgb_to_linear(low_light(image, dark, INDEX[:1])).double()
    light = 0.4 * (((0.7 + 0.055) / 1.055) ** 2.4) ** 1.3
    assert float(seen.mean()) == pytest.approx(light, rel=0.003)
    assert float(seen.var()) == pytest.approx(light / 300 + 0.01**2, rel=0.02)


def test_parameters_per_image_equal_one_for_all():
    image, names = pictures(), ["mild", "severe", "medium", "mild", "severe"]
    each = [degrade.SEVERITIES[name] for name in names]
    columns = {
        field: torch.tensor([getattr(dark, field) for dark in each])
        for field in ("exposure", "gamma", "photons", "reading")
    }
    mixed = low_light(image, LowLight(**columns), INDEX)
    for i, name in enumerate(names):
        assert torch.equal(mixed[i], low_light(image, name, INDEX)[i])


@pytest.mark.parametrize("rate", [0.0, 0.03, 1.0, 4.5, 8.0])
def test_poisson_is_exact_for_small_rates(rate):
    chance = uniform(0, torch.arange(200_000))
    found = degrade.poisson(torch.full_like(chance, rate), chance).double().numpy()
    exact = stats.poisson.ppf(chance.double().numpy(), rate).clip(0)
    assert (found == exact).mean() > 0.9999
    assert found.mean() == pytest.approx(rate, rel=0.01 if rate > 0.5 else 0.05)
    assert found.var() == pytest.approx(rate, rel=0.02 if rate > 0.5 else 0.05)


@pytest.mark.parametrize("rate", [8.1, 20.0, 64.0, 1000.0, 1e5])
def test_poisson_is_next_to_exact_for_large_rates(rate):
    chance = uniform(0, torch.arange(40_000))
    found = degrade.poisson(torch.full_like(chance, rate), chance).double().numpy()
    exact = stats.poisson.ppf(chance.double().numpy(), rate)
    away = np.abs(found - exact)
    assert away.max() <= 1 and (away > 0).mean() < 0.01  # at 1e5 float32 itself rounds
    assert found.mean() == pytest.approx(rate, abs=4 * (rate / 40_000) ** 0.5)
    assert found.var() == pytest.approx(exact.var(), rel=0.003)


def test_the_extremes_of_chance_stay_finite_and_bounded():
    chance = torch.tensor([2.0**-24, 1 - 2.0**-24])
    for rate in (0.0, 1.0, 8.0, 9.0, 1e6):
        low, high = degrade.poisson(torch.full((2,), rate), chance).tolist()
        exact = stats.poisson.ppf(chance.double().numpy(), rate).clip(0)
        assert 0 <= low <= rate <= high
        assert abs(low - exact[0]) <= 1 and abs(high - exact[1]) <= 1 + 1e-6 * rate


def keys(x: np.ndarray, a: float = -0.5) -> np.ndarray:
    x = np.abs(x)
    inner = (a + 2) * x**3 - (a + 3) * x**2 + 1
    outer = a * (x**3 - 5 * x**2 + 8 * x - 4)
    return np.where(x <= 1, inner, np.where(x < 2, outer, 0))


def resample(length: int, size: int) -> np.ndarray:
    """The matrix (size, length) of cubic interpolation, stretched where it shrinks."""
    ratio = length / size
    stretch = max(ratio, 1.0)
    centre = (np.arange(size)[:, None] + 0.5) * ratio - 0.5
    weight = keys((np.arange(length) - centre) / stretch)
    return weight / weight.sum(1, keepdims=True)


@pytest.mark.parametrize("shape", [(48, 48), (50, 75)])
@pytest.mark.parametrize("scale", [2, 4, 8])
def test_bicubic_is_the_stretched_keys_kernel(scale, shape, monkeypatch):
    monkeypatch.setattr(degrade, "quantize", lambda image: image)
    image = torch.rand(2, 3, *shape, generator=torch.Generator().manual_seed(1))
    small = low_resolution(image, scale)
    height, width = (round(side / scale) for side in shape)
    rows, columns = resample(shape[0], height), resample(shape[1], width)
    expected = (rows @ image.double().numpy() @ columns.T).clip(0, 1)
    assert small.shape == (2, 3, height, width)
    assert np.abs(small.numpy() - expected).max() < 1e-5
    back = upsample(small, shape).double().numpy()
    expected = (resample(height, shape[0]) @ small.double().numpy() @ resample(width, shape[1]).T).clip(0, 1)
    assert np.abs(back - expected).max() < 1e-5


@pytest.mark.parametrize("scale", [2, 4, 8])
def test_bicubic_agrees_with_pillow(scale):
    image = pictures(1, 96, 64)
    for face, small in zip(image[:, 0], low_resolution(image, scale)[:, 0], strict=True):
        size = (64 // scale, 96 // scale)
        other = np.asarray(Image.fromarray(face.numpy()).resize(size, Image.Resampling.BICUBIC))
        assert np.abs(small.numpy() - other.clip(0, 1)).max() <= 0.5 / 255 + 1e-5


@pytest.mark.parametrize(("channels", "height", "width"), [(1, 48, 48), (3, 50, 70), (3, 16, 8)])
@pytest.mark.parametrize("scale", [2, 4, 8])
def test_the_realistic_chain_takes_any_size(channels, height, width, scale):
    small = realistic_low_resolution(pictures(channels, height, width), scale, INDEX)
    assert small.shape == (len(INDEX), channels, round(height / scale), round(width / scale))
    assert small.isfinite().all()


def test_the_realistic_chain_loses_more_than_plain_bicubic_but_keeps_the_picture():
    image = pictures(1, 112, 112)
    plain, real = low_resolution(image, 2), realistic_low_resolution(image, 2, INDEX)
    error = (plain - real).square().mean((1, 2, 3)).sqrt() * 255
    assert (error > 0.5).all() and (error < 15).all() and error.max() > 1.5 * error.min(), error


def test_srgb_agrees_with_kornia_and_returns():
    value = torch.linspace(0, 1, 256).view(1, 1, 16, 16).expand(1, 3, 16, 16)
    assert torch.allclose(degrade.srgb_to_linear(value), rgb_to_linear_rgb(value), atol=1e-6)
    assert torch.allclose(degrade.linear_to_srgb(degrade.srgb_to_linear(value)), value, atol=1e-6)


def test_wrong_arguments_are_one_sentence():
    image = pictures()
    with pytest.raises(FerError, match=r"^There is no severity 'dark': take one of mild, medium, severe\.$"):
        low_light(image, "dark", INDEX)
    with pytest.raises(FerError, match=r"^There is no scale 3: take one of 2, 4, 8\.$"):
        low_resolution(image, 3)
    with pytest.raises(FerError, match=r"^Images \(5, 3, 48, 48\) and index \(4,\) do not fit: .+\.$"):
        low_light(image, "mild", INDEX[:4])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
@pytest.mark.parametrize("name", ALL)
def test_a_gpu_gives_the_same_image_but_for_rounding(name):
    here, there = ALL[name](pictures(), INDEX), ALL[name](pictures().cuda(), INDEX.cuda()).cpu()
    assert (here - there).abs().max() <= (4 if name == "low resolution" else 1) / 255 + 1e-6
    assert (here == there).float().mean() > 0.99
