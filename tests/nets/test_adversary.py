"""Both players' losses by hand, and the gradient penalty against a slope taken by finite differences."""

import pytest
import torch
import torch.nn.functional as F

from fer_lib.nets.adversary import Discriminator, criticism, discriminator_loss, fooling, generator_loss, gradient_penalty


def pictures(count=3, size=16):
    torch.manual_seed(1)
    return [torch.rand(count, 3, size, size) for _ in range(3)]


@pytest.fixture
def judge():
    torch.manual_seed(0)
    return Discriminator(8, 4)


def test_the_losses_by_hand():
    real, fake = torch.tensor([0.5, 2.0]), torch.tensor([-0.5, 1.0])
    log = torch.log1p(torch.exp(torch.tensor([-0.5, -2.0]))).mean() + torch.log1p(torch.exp(fake)).mean()
    assert discriminator_loss("vanilla", real, fake).item() == pytest.approx(log.item())
    assert discriminator_loss("hinge", real, fake).item() == pytest.approx((0.5 + 0) / 2 + (0.5 + 2) / 2)
    assert discriminator_loss("wgan-gp", real, fake).item() == pytest.approx(0.25 - 1.25)
    assert generator_loss("vanilla", fake).item() == pytest.approx(-F.logsigmoid(fake).mean().item())
    assert generator_loss("hinge", fake).item() == generator_loss("wgan-gp", fake).item() == pytest.approx(-0.25)


def test_vanilla_is_binary_cross_entropy():
    real, fake = torch.randn(5), torch.randn(5)
    both = F.binary_cross_entropy_with_logits(real, torch.ones(5)) + F.binary_cross_entropy_with_logits(fake, torch.zeros(5))
    assert torch.allclose(discriminator_loss("vanilla", real, fake), both)


def test_gradient_penalty_against_finite_differences(judge):
    judge, (given, real, fake) = judge.double(), [x[:1, :, :8, :8].double() for x in pictures()]
    share = torch.tensor([0.3], dtype=torch.double)
    between, step, slope = 0.3 * real + 0.7 * fake, 1e-6, []
    with torch.no_grad():
        for i in range(between.numel()):
            moved = torch.zeros_like(between).flatten()
            moved[i] = step
            moved = moved.view_as(between)
            high, low = (judge(given, between + sign * moved).mean() for sign in (1, -1))
            slope.append((high - low) / (2 * step))
    wanted = (torch.stack(slope).norm() - 1) ** 2
    assert gradient_penalty(judge, given, real, fake, share).item() == pytest.approx(wanted.item(), rel=1e-4)


def test_the_penalty_moves_the_discriminator_alone(judge):
    given, real, fake = (x.requires_grad_() for x in pictures())
    gradient_penalty(judge, given, real, fake, torch.rand(3)).backward()
    assert real.grad is None and fake.grad is None
    assert judge.body[0].weight.grad.abs().sum() > 0


def test_a_score_depends_on_its_own_pair_alone(judge):
    given, real, _ = pictures()
    patches, kinds = judge(given, real), judge.classify(real)
    assert patches.shape == (3, 2, 2) and kinds.shape == (3, 8)
    pairs = [(given[i : i + 1], real[i : i + 1]) for i in range(3)]
    assert torch.allclose(patches, torch.cat([judge(*pair) for pair in pairs]), atol=1e-6)
    assert torch.allclose(kinds, torch.cat([judge.classify(pair[1]) for pair in pairs]), atol=1e-6)


def test_classes_are_named_without_the_other_picture(judge):
    given, real, made = pictures()
    first, second = (fooling(judge, "hinge", x, made)["auxiliary"] for x in (given, real))
    assert torch.equal(first, second)
    assert set(fooling(Discriminator(8, 4, names=False), "hinge", given, made)) == {"realism"}


def test_what_the_discriminator_learns(judge):
    given, real, made = pictures()
    label = torch.tensor([1, 0, 3])
    terms = criticism(judge, "wgan-gp", given, real, made, label)
    assert set(terms) == {"real or made", "slope", "class"}
    assert terms["real or made"].item() == pytest.approx((judge(given, made).mean() - judge(given, real).mean()).item(), abs=1e-6)
    shown, calm = F.cross_entropy(judge.classify(given), label), F.cross_entropy(judge.classify(real), torch.zeros(3).long())
    assert torch.allclose(terms["class"], shown + calm / 8)
