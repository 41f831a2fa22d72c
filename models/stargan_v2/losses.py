"""The objective of section 2.2 as free functions of the four networks, and the discriminator's penalty (section 3).

Every function takes pictures (N, 3, H, W) in [-1, 1] and domains (N,) int64, and returns its terms unweighted by name.
The masks of the sources are passed in, since several functions need the same within a step.
"""

from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional

Masks = tuple[torch.Tensor, torch.Tensor]
MaskPictures = Callable[[torch.Tensor], Masks | None]  # of pictures; None without a high-pass path
EncodeStyle = Callable[[], torch.Tensor]  # a style code (N, style_dim), computed when it is called
Judge = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]  # the discriminator: pictures and domains to logits
Terms = dict[str, torch.Tensor]


def adversarial_loss(logits: torch.Tensor, *, real: bool) -> torch.Tensor:
    """Equation 1's log loss, with the generator's non-saturating form."""
    return functional.binary_cross_entropy_with_logits(logits, torch.full_like(logits, float(real)))


def r1_penalty(logits: torch.Tensor, x_real: torch.Tensor) -> torch.Tensor:
    """Half the squared length of the logits' gradient at real pictures (Mescheder et al., 2018)."""
    (gradient,) = torch.autograd.grad(logits.sum(), x_real, create_graph=True)
    return 0.5 * gradient.square().flatten(1).sum(dim=1).mean()


def discriminator_terms(
    discriminator: Judge, x_fake: torch.Tensor, x_real: torch.Tensor, y_org: torch.Tensor, y_trg: torch.Tensor
) -> Terms:
    """``real``, ``fake`` and ``reg``, to be minimised in their sum; ``x_fake`` is what was made of ``x_real``."""
    x_real = x_real.detach().requires_grad_()
    logits = discriminator(x_real, y_org)
    return {
        "real": adversarial_loss(logits, real=True),
        "fake": adversarial_loss(discriminator(x_fake.detach(), y_trg), real=False),
        "reg": r1_penalty(logits, x_real),
    }


def generator_terms(
    discriminator: Judge,
    generator: nn.Module,
    style_encoder: nn.Module,
    s: torch.Tensor,
    x_fake: torch.Tensor,
    s_trg2: EncodeStyle,
    x_real: torch.Tensor,
    y_org: torch.Tensor,
    y_trg: torch.Tensor,
    *,
    source_masks: Masks | None,
    masks: MaskPictures,
) -> Terms:
    """``adv``, ``sty`` (equation 2), ``ds`` (equation 3) and ``cyc`` (equation 4).

    ``ds`` is to be maximised, the others to be minimised.

    Args:
        s: the style code with which the generator has made ``x_fake`` of ``x_real``, both with their gradients.
    """
    # Before x_fake2: autocast may keep weights as they were first used, and without gradients they would have none.
    x_rec = generator(x_fake, style_encoder(x_real, y_org), masks(x_fake))
    with torch.no_grad():
        x_fake2 = generator(x_real, s_trg2(), source_masks)
    return {
        "adv": adversarial_loss(discriminator(x_fake, y_trg), real=True),
        "sty": (style_encoder(x_fake, y_trg) - s).abs().mean(),
        "ds": (x_fake - x_fake2).abs().mean(),
        "cyc": (x_rec - x_real).abs().mean(),
    }
