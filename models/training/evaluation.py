"""Judging generators on pictures they were not trained on: cycle errors, and distances as networks see them."""

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
    """What generators make of held-out pictures: (N, 3, S, S) in [-1, 1], domain by domain."""

    real: Sequence[torch.Tensor]
    cycled: Sequence[torch.Tensor]  # the same, translated there and back
    generated: Sequence[torch.Tensor]  # what was made in the domain's manner
    # Kind of style → makes, of each held-out picture, (K, 3, S, S) in K styles. Of families that have styles.
    variants: Mapping[str, Variants] = field(default_factory=dict)


def quality(evaluation: Evaluation, step: int, domains: Sequence[str], device: torch.device) -> Quality:
    """The evaluation's figures; the first is the mean cycle error, by which checkpoints are ranked.

    Args:
        device: where networks that judge run.
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
                # Networks are made on the CPU, at random, before their weights are read.
                with torch.random.fork_rng(devices=[]):
                    figures |= measure(evaluation, domains, device)
            except Exception as error:  # a figure that cannot be taken is no reason to end a run
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
        raise ValueError(f"{distances.LEAST_PICTURES} held-out pictures of each domain are needed, and there is 1")
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
