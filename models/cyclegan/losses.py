"""The objective of section 3 and the identity loss of section 5.2, as functions of the four networks."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

GanLoss = Callable[[torch.Tensor, bool], torch.Tensor]
Features = Sequence[torch.Tensor]  # of N pictures at several scales, the finest first: (N, C, h, w)
See = Callable[[torch.Tensor], Features]
Judge = Callable[..., torch.Tensor | Features]  # of pictures, or of features: logits, perhaps at several scales


def lsgan_loss(logits: torch.Tensor, real: bool) -> torch.Tensor:
    """Least squares against 1 (real) or 0 (fake); the paper's choice (section 7.1)."""
    return functional.mse_loss(logits, torch.full_like(logits, float(real)))


def vanilla_loss(logits: torch.Tensor, real: bool) -> torch.Tensor:
    """The log loss of equation 1, with the generator's non-saturating form."""
    return functional.binary_cross_entropy_with_logits(logits, torch.full_like(logits, float(real)))


def distance(x: torch.Tensor, x_rec: torch.Tensor, color_share: float) -> torch.Tensor:
    """Distance of a reconstruction from its picture, both (N, 3, H, W): mean absolute difference.

    Args:
        color_share: 1 gives the paper's L1 (equation 2). The remaining share is L1 after matching the mean and
            contrast of each channel of ``x_rec`` to those of ``x``. Instance normalisation removes mean and contrast
            in the first layer, and small generators that must restore them learn to carry them as blotches. A share
            above 0 keeps pictures from going pale.
    """
    plain = functional.l1_loss(x_rec, x)
    if color_share == 1:
        return plain
    (std, mean), (std_rec, mean_rec) = (torch.std_mean(y.float(), dim=(2, 3), keepdim=True) for y in (x, x_rec))
    matched = (x_rec - mean_rec) / (std_rec + 0.01) * std + mean
    return color_share * plain + (1 - color_share) * functional.l1_loss(matched, x)


def content_distance(x: Features, y: Features) -> torch.Tensor:
    """How different N pictures are from their counterparts in what they show: the mean over scales but the finest.

    At each place both features are scaled to length 1, as in LPIPS (Zhang et al., 2018, arXiv:1801.03924, section 3);
    the squared distance of the two, in [0, 4], counts equally at all channels. The finest scale is left out, since
    brushwork is to differ.
    """
    distances = [
        (functional.normalize(a, dim=1) - functional.normalize(b, dim=1)).square().sum(dim=1).mean()
        for a, b in zip(x[1:], y[1:], strict=True)
    ]
    return torch.stack(distances).mean()


def judged(logits: torch.Tensor | Sequence[torch.Tensor], real: bool, gan_loss: GanLoss) -> torch.Tensor:
    """The loss of what a discriminator says; if it says it at several scales, the mean over them."""
    if isinstance(logits, torch.Tensor):
        return gan_loss(logits, real)
    return torch.stack([gan_loss(some, real) for some in logits]).mean()


GAN_LOSSES: dict[str, GanLoss] = {"lsgan": lsgan_loss, "vanilla": vanilla_loss}


@dataclass(frozen=True)
class Generated:
    """The pictures of one generator step, (N, 3, H, W) in [-1, 1]; the discriminators are trained on them."""

    fake_a: torch.Tensor
    fake_b: torch.Tensor


def generator_losses(
    g_ab: nn.Module,
    g_ba: nn.Module,
    d_a: Judge,
    d_b: Judge,
    real_a: torch.Tensor,
    real_b: torch.Tensor,
    *,
    gan_loss: GanLoss,
    lambda_a: float,
    lambda_b: float,
    lambda_identity: float,
    color_share: float = 1.0,
    lambda_content: float = 0.0,
    see: See | None = None,
    projected: bool = False,
) -> tuple[dict[str, torch.Tensor], Generated]:
    """All terms of both generators' loss, already weighted; their sum is minimised.

    A term is named after the network that it is of: g_ab_adv tells how g_ab fares with its judge d_b, g_ab_identity
    what it makes of pictures of B. The cycle losses are of both generators, and named after the way that pictures go.

    Args:
        real_a, real_b: (N, 3, H, W) float in [-1, 1].
        lambda_a, lambda_b: weight of the cycle A → B → A, and of B → A → B; a cycle of weight 0 is not computed.
        lambda_identity: weight of the identity loss relative to the cycle's; 0 leaves it out.
        color_share: see :func:`distance`, which measures both losses.
        lambda_content: weight of the distance between the features of a picture and of its translation, see
            :func:`content_distance`; 0 leaves it out.
        see: the features of pictures, for the content and for discriminators that are ``projected``: these judge
            features in place of pictures.
    """
    same = lambda_identity > 0 and max(lambda_a, lambda_b) > 0
    if same:
        # Instance normalisation keeps pictures apart, so one pass over both gives what two passes would.
        fake_b, same_b = g_ab(torch.cat([real_a, real_b])).split([len(real_a), len(real_b)])
        fake_a, same_a = g_ba(torch.cat([real_b, real_a])).split([len(real_b), len(real_a)])
    else:
        fake_b, fake_a = g_ab(real_a), g_ba(real_b)
    seen_b, seen_a = (fake_b, fake_a) if see is None else (see(fake_b), see(fake_a))
    terms = {
        "g_ab_adv": judged(d_b(seen_b if projected else fake_b), True, gan_loss),
        "g_ba_adv": judged(d_a(seen_a if projected else fake_a), True, gan_loss),
    }
    if lambda_a > 0:
        terms["cycle_aba"] = lambda_a * distance(real_a, g_ba(fake_b), color_share)
    if lambda_b > 0:
        terms["cycle_bab"] = lambda_b * distance(real_b, g_ab(fake_a), color_share)
    if lambda_content > 0:
        assert see is not None, "content is a matter of features"
        with torch.no_grad():
            shown_a, shown_b = see(real_a), see(real_b)
        terms["g_ab_content"] = lambda_content * content_distance(shown_a, seen_b)
        terms["g_ba_content"] = lambda_content * content_distance(shown_b, seen_a)
    if same:
        terms["g_ab_identity"] = lambda_b * lambda_identity * distance(real_b, same_b, color_share)
        terms["g_ba_identity"] = lambda_a * lambda_identity * distance(real_a, same_a, color_share)
    return terms, Generated(fake_a=fake_a.detach(), fake_b=fake_b.detach())


def discriminator_loss(
    discriminator: nn.Module, real: torch.Tensor, fake: torch.Tensor, gan_loss: GanLoss, see: See | None = None
) -> torch.Tensor:
    """Half the sum of the real and the fake loss, which slows D down relative to G (section 7.1).

    Args:
        see: of a discriminator that judges features in place of pictures.
    """
    with torch.no_grad():
        shown, made = (real, fake) if see is None else (see(real), see(fake))
    return 0.5 * (judged(discriminator(shown), True, gan_loss) + judged(discriminator(made), False, gan_loss))
