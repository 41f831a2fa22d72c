"""Measures generators on held-out pictures: cycle errors, FID, KID and LPIPS."""

import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import torch

from models.store.run_status import Quality
from models.training import distances
from models.training.distances import ALEXNET_FILE, INCEPTION_FILE, PerceptualDistance

log = logging.getLogger("doppel.training")

Variants = Callable[[], Iterator[torch.Tensor]]


@dataclass(frozen=True)
class Evaluation:
    """Held-out pictures and what the generators make of them: (N, 3, S, S) in [-1, 1] for each domain."""

    real: Sequence[torch.Tensor]
    cycled: Sequence[torch.Tensor]  # the same pictures, translated there and back
    generated: Sequence[torch.Tensor]  # pictures that were translated into the domain
    # Kind of style → for each held-out picture, (K, 3, S, S) of it in K styles. Empty for families without styles.
    variants: Mapping[str, Variants] = field(default_factory=dict)


def quality(evaluation: Evaluation, step: int, domains: Sequence[str], device: torch.device) -> Quality:
    """Compute all figures. The first is the mean cycle error, which decides which checkpoint is the best.

    Args:
        device: where the networks run that FID, KID and LPIPS need.
    """
    errors = [
        (cycled - real).abs().mean().item() for cycled, real in zip(evaluation.cycled, evaluation.real, strict=True)
    ]
    figures = {"cycle error": sum(errors) / len(errors)}
    figures |= {f"cycle error of {domain}": error for domain, error in zip(domains, errors, strict=True)}
    not_available: dict[str, str] = {}
    for names, file, measure in (
        (("FID", "KID"), INCEPTION_FILE, _by_inception),
        (("LPIPS",), ALEXNET_FILE, _by_alexnet),
    ):
        why = distances.missing(file)
        if why is None:
            try:
                # Building a network draws random numbers on the CPU, before its weights are loaded.
                with torch.random.fork_rng(devices=[]):
                    figures |= measure(evaluation, domains, device)
            except Exception as error:  # a figure that fails must not end the run
                log.warning("%s could not be measured", " and ".join(names), exc_info=True)
                why = f"it could not be measured: {error}"
        if why is not None:
            not_available |= dict.fromkeys(names, why)
    not_available |= {name: "it is not a finite number" for name, value in figures.items() if not math.isfinite(value)}
    rounded = {name: round(value, 5) for name, value in figures.items() if name not in not_available}
    return Quality(step=step, figures=rounded, not_available=not_available)


def _by_inception(evaluation: Evaluation, domains: Sequence[str], device: torch.device) -> dict[str, float]:
    fewest = min(map(len, (*evaluation.generated, *evaluation.real)))
    if fewest < distances.LEAST_PICTURES:
        raise ValueError(
            f"{distances.LEAST_PICTURES} held-out pictures of each domain are needed, but one domain has only 1"
        )
    figures = {}
    for domain, generated, real in zip(domains, evaluation.generated, evaluation.real, strict=True):
        for name, distance in distances.inception_distances(generated, real, device).items():
            figures[f"{name} of {domain}"] = distance
    return figures


def _by_alexnet(evaluation: Evaluation, domains: Sequence[str], device: torch.device) -> dict[str, float]:
    distance = PerceptualDistance(device)
    figures = {
        f"cycle LPIPS of {domain}": distance.between(cycled, real)
        for domain, cycled, real in zip(domains, evaluation.cycled, evaluation.real, strict=True)
    }
    for kind, variants in evaluation.variants.items():
        figures[f"LPIPS between {kind} styles"] = distance.diversity(variants())
    return figures
