"""The second player of a GAN: a discriminator that looks at patches, and the losses both players lower."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

ADVERSARIES = ("none", "vanilla", "hinge", "wgan-gp")
PENALTY = 10.0  # [gulrajani2017improved]


class Discriminator(nn.Module):
    """Patch by patch, is this the true second picture of a pair? [isola2017image]; and which class does it show?

    No norm layer: a prediction of one picture must not depend on others, nor the gradient penalty [gulrajani2017improved].

    Args:
        classes: told apart by the auxiliary head [choi2018stargan].
        width: channels after the first convolution; twice and four times as many behind it.
        names: whether there is an auxiliary head.

    Shapes:
        given, image (B, 3, H, W) in [0, 1] -> patches (B, H / 8, W / 8), one score each.

    Explained in: book/err_net.ipynb
    """

    def __init__(self, classes: int, width: int = 16, names: bool = True):
        super().__init__()
        wide = (6, width, 2 * width, 4 * width)
        self.body = nn.Sequential(
            *(
                layer
                for before, after in zip(wide, wide[1:], strict=False)
                for layer in (nn.Conv2d(before, after, 4, stride=2, padding=1), nn.LeakyReLU(0.2))
            )
        )
        self.patch = nn.Conv2d(wide[-1], 1, 3, padding=1)
        # An expression is a matter of where: the mean over all places would not tell a raised corner from a lowered one.
        deep = (nn.Conv2d(wide[-1], wide[-1], 3, padding=1), nn.GroupNorm(4, wide[-1]), nn.LeakyReLU(0.2), nn.AdaptiveAvgPool2d(4))
        self.kind = nn.Sequential(*deep, nn.Flatten(), nn.Linear(16 * wide[-1], classes)) if names else None

    def forward(self, given: Tensor, image: Tensor) -> Tensor:
        return self.patch(self._look(given, image))[:, 0]

    def classify(self, image: Tensor) -> Tensor:
        """The class of pictures (B, 3, H, W) by themselves, with grey in the other one's place: logits (B, classes)."""
        return self.kind(self._look(torch.full_like(image, 0.5), image))

    def _look(self, given: Tensor, image: Tensor) -> Tensor:
        pair = torch.cat([given - 0.5, image - 0.5], 1).contiguous(memory_format=torch.channels_last)
        return self.body(pair)  # (B, 4 width, H / 8, W / 8)


def discriminator_loss(kind: str, real: Tensor, fake: Tensor) -> Tensor:
    r"""What the discriminator lowers, from its scores of true and of made pictures.

    .. math::
        \text{vanilla: } \overline{\log(1+e^{-d(n)})} + \overline{\log(1+e^{d(\hat n)})} \qquad
        \text{hinge: } \overline{(1-d(n))_+} + \overline{(1+d(\hat n))_+} \qquad
        \text{wgan: } \overline{d(\hat n)} - \overline{d(n)}

    Source: vanilla [goodfellow2014generative], hinge [lim2017geometric], Wasserstein [gulrajani2017improved].

    Shapes:
        two of any shape -> scalar.

    Example:
        >>> discriminator_loss("hinge", torch.tensor([0.5]), torch.tensor([-2.0])).item()
        0.5

    Explained in: book/err_net.ipynb
    """
    if kind == "vanilla":
        return F.softplus(-real).mean() + F.softplus(fake).mean()
    if kind == "hinge":
        return F.relu(1 - real).mean() + F.relu(1 + fake).mean()
    return fake.mean() - real.mean()


def generator_loss(kind: str, fake: Tensor) -> Tensor:
    r"""What the generator lowers: :math:`\overline{\log(1+e^{-d(\hat n)})}` (vanilla), else :math:`-\overline{d(\hat n)}`.

    Vanilla is the form that does not saturate [goodfellow2014generative].

    Explained in: book/err_net.ipynb
    """
    return F.softplus(-fake).mean() if kind == "vanilla" else -fake.mean()


def gradient_penalty(judge: Discriminator, given: Tensor, real: Tensor, fake: Tensor, share: Tensor) -> Tensor:
    r"""How far the slope of the scores is from 1 between a true and a made picture [gulrajani2017improved].

    .. math:: \overline{\bigl(\|\nabla_{m}\, \bar d(x, m)\|_2 - 1\bigr)^2}, \qquad m = u\,n + (1-u)\,\hat n

    with :math:`\bar d` the mean over the patches. It keeps its graph: the penalty is itself lowered.

    Args:
        given, real, fake: (B, 3, H, W); share: the u, (B,) in [0, 1].

    Explained in: book/err_net.ipynb
    """
    u = share[:, None, None, None]
    between = (u * real + (1 - u) * fake).detach().requires_grad_()
    with torch.autocast(given.device.type, enabled=False):
        score = judge(given, between).mean(dim=(1, 2)).sum()
        slope = torch.autograd.grad(score, between, create_graph=True)[0]
    return (slope.flatten(1).norm(dim=1) - 1).square().mean()


def fooling(judge: Discriminator, kind: str, given: Tensor, made: Tensor) -> dict[str, Tensor]:
    """What the generator lowers: ``realism``, and with an auxiliary head ``auxiliary``, the surprise at class 0, neutral.

    Args:
        kind: one of ``ADVERSARIES``, not ``none``.
        given, made: (B, 3, H, W), the faces and the estimates.

    Explained in: book/err_net.ipynb
    """
    terms = {"realism": generator_loss(kind, judge(given, made).float())}
    if judge.kind is not None:
        terms["auxiliary"] = F.cross_entropy(judge.classify(made).float(), _neutral(made))
    return terms


def criticism(
    judge: Discriminator, kind: str, given: Tensor, real: Tensor, made: Tensor, label: Tensor
) -> dict[str, Tensor]:
    """What the discriminator lowers, by name: its loss, the gradient penalty with ``wgan-gp``, its naming of classes.

    The neutral faces count in the naming as much as one class of the others: if they counted as the others do, it
    would pay to call everything neutral.

    Args:
        given, real, made: (B, 3, H, W), the faces, their neutral faces, and the estimates, without gradient.
        label: int64 (B,), of ``given``; ``real`` is class 0.

    Explained in: book/err_net.ipynb
    """
    scores = [judge(given, x).float() for x in (real, made)]
    terms = {"real or made": discriminator_loss(kind, *scores)}
    if kind == "wgan-gp":
        share = torch.rand(len(given), device=given.device)
        terms["slope"] = PENALTY * gradient_penalty(judge, given, real, made, share)
    if judge.kind is not None:
        shown, calm = judge.classify(torch.cat([given, real])).float().chunk(2)
        terms["class"] = F.cross_entropy(shown, label) + F.cross_entropy(calm, _neutral(calm)) / calm.shape[1]
    return terms


def _neutral(rows: Tensor) -> Tensor:
    """Class 0 for each row."""
    return torch.zeros(len(rows), dtype=torch.long, device=rows.device)
