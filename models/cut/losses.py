"""The objective of section 3, as functions of the networks."""

from collections.abc import Callable, Sequence

import torch
from torch import nn
from torch.nn import functional

from models.cyclegan.losses import GanLoss

Encode = Callable[[torch.Tensor], list[torch.Tensor]]


def patch_nce(queries: Sequence[torch.Tensor], keys: Sequence[torch.Tensor], temperature: float) -> torch.Tensor:
    """PatchNCE, equation 4: tell the patch of the source at the same place from the other ones of the same picture.

    Args:
        queries: (N, P, dim) of each layer, of translations.
        keys: the same of their sources, without gradients.

    Returns:
        (N,), for each picture the mean over places and layers.
    """
    losses = []
    for query, key in zip(queries, keys, strict=True):
        likeness = query @ key.transpose(1, 2) / temperature  # (N, P, P): of each query to each key
        same_place = torch.arange(likeness.shape[1], device=likeness.device).expand(len(likeness), -1)
        losses.append(functional.cross_entropy(likeness.transpose(1, 2), same_place, reduction="none").mean(dim=1))
    return torch.stack(losses).mean(dim=0)


def generator_losses(
    discriminator: Callable[[torch.Tensor], torch.Tensor],
    heads: nn.Module,
    encode: Encode,
    made: torch.Tensor,
    keys: Sequence[torch.Tensor],
    places: Sequence[torch.Tensor],
    *,
    sources: int,
    gan_loss: GanLoss,
    lambda_nce: float,
    temperature: float,
) -> dict[str, torch.Tensor]:
    """All terms of the loss of the generator and the heads, already weighted; their sum is minimised (equation 5).

    Args:
        heads: a :class:`models.cut.patches.PatchHeads`.
        encode: a picture's features.
        made: (N, 3, H, W), what the generator makes of the sources, and after them, for the identity loss, what it
            makes of pictures of the target domain. These share the weight with the sources.
        keys: the projected patches of what it was made of.
        places: where these patches lie in ``made``.
        sources: the number of the sources.
    """
    nce = patch_nce(heads(encode(made), places), keys, temperature)
    both = sources < len(made)
    weight = lambda_nce / 2 if both else lambda_nce
    terms = {
        "g_adv": gan_loss(discriminator(made[:sources]), True),
        "g_nce": weight * nce[:sources].mean(),
    }
    if both:
        terms["g_nce_identity"] = weight * nce[sources:].mean()
    return terms
