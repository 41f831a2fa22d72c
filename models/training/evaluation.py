"""Measures generators on held-out pictures: how far translations have come, what they keep, FID, KID, LPIPS."""

import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import torch

from models.store.run_status import FEATURE_SCORE, SCORE, Quality
from models.training import distances, feature_distances, feature_network
from models.training.distances import (
    ALEXNET_FILE,
    INCEPTION_FILE,
    LEAST_CONTRAST,
    InceptionDistance,
    PatchDistance,
    PerceptualDistance,
    structure_kept,
)

log = logging.getLogger("doppel.training")

LEAST_DISTANCE = 1e-6  # between two domains, or two pictures: they may be the same
FORGETTING = 2.0  # a cycle that brings back nothing but the mean colour of its domain has kept exp(-2), a seventh
LITE0 = "Lite0"  # the figures by features have names that begin so

Variants = Callable[[], Iterator[torch.Tensor]]


@dataclass(frozen=True)
class Evaluation:
    """Held-out pictures and what the generators make of them: (N, 3, S, S) in [-1, 1] for each domain.

    Each domain is translated into the next one, the last into the first. A one-sided translation leaves out the rest:
    None.
    """

    real: Sequence[torch.Tensor]
    cycled: Sequence[torch.Tensor | None]  # the same pictures, translated there and back
    generated: Sequence[torch.Tensor | None]  # pictures that were translated into the domain
    # Kind of style → for each held-out picture, (K, 3, S, S) of it in K styles. Empty for families without styles.
    variants: Mapping[str, Variants] = field(default_factory=dict)


def quality(
    evaluation: Evaluation, step: int, domains: Sequence[str], device: torch.device, *, copies: bool = False
) -> Quality:
    """Compute all figures. The score by features decides which checkpoint is the best, without it the other one.

    Args:
        device: where the networks run that FID, KID and LPIPS need.
        copies: whether the generators have only learned to give pictures back, and so don't compete.
    """
    errors = {
        domain: (cycled - real).abs().mean().item()
        for domain, cycled, real in zip(domains, evaluation.cycled, evaluation.real, strict=True)
        if cycled is not None
    }
    left = _distances_left(evaluation)
    figures = {SCORE: score(evaluation, left)}
    if errors:
        figures["cycle error"] = sum(errors.values()) / len(errors)
    figures |= {f"cycle error of {domain}": error for domain, error in errors.items()}
    figures |= {f"distance left to {domains[y]}": share for y, share in left.items()}
    not_available: dict[str, str] = {}
    for names, missing, measure in (
        ((LITE0,), feature_network.missing(), _by_features),
        (("FID", "KID"), distances.missing(INCEPTION_FILE), _by_inception),
        (("LPIPS",), distances.missing(ALEXNET_FILE), _by_alexnet),
    ):
        why = missing
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
    if copies:
        why = "within identity_steps the generators only learn to give pictures back"
        not_available |= {name: why for name in (SCORE, FEATURE_SCORE) if name in figures}
    not_available |= {name: "it is not a finite number" for name, value in figures.items() if not math.isfinite(value)}
    rounded = {name: round(value, 5) for name, value in figures.items() if name not in not_available}
    return Quality(step=step, figures=rounded, not_available=not_available)


def score(evaluation: Evaluation, left: Mapping[int, float]) -> float:
    """How good checkpoints are, whatever they were trained for: 1 is perfect, higher is better.

    A translation must come near the pictures of its target domain and keep its source's content. For each domain this
    is the harmonic mean of how far translations into the next domain have come, and of how much of a picture comes back
    from there or, where nothing is translated back, of how much of its structure is in the translation. Generators that
    leave everything as it is have come nowhere: 0. Those that forget what they are given bring little back. Below 0,
    translations are farther from their target than their sources are.

    Args:
        left: see :func:`_distances_left`.
    """
    scores = []
    for y, share in left.items():
        come = 1 - share
        pictures, cycled, generated = evaluation.real[y - 1], evaluation.cycled[y - 1], evaluation.generated[y]
        if cycled is not None:
            error = (cycled - pictures).abs().mean().item()
            all_lost = (pictures - pictures.mean(dim=(0, 2, 3), keepdim=True)).abs().mean().item()
            kept = math.exp(-FORGETTING * error / max(all_lost, LEAST_CONTRAST))
        else:
            assert generated is not None, "its distance was measured"
            kept = structure_kept(pictures, generated)
        scores.append(_both(come, kept))
    return sum(scores) / len(scores)


def _both(come: float, kept: float) -> float:
    """The harmonic mean of the share of the way and the share of the content, or how far back a translation went."""
    return 2 * come * kept / (come + kept) if come > 0 else come


def _distances_left(evaluation: Evaluation) -> dict[int, float]:
    """Number of a domain → the distance to it of what was translated into it, as a share of its sources' distance.

    0: no different from real pictures of the domain. 1: no nearer than the sources.
    """
    left = {}
    for y, (generated, real) in enumerate(zip(evaluation.generated, evaluation.real, strict=True)):
        if generated is not None:
            distance = PatchDistance(real)
            sources = evaluation.real[y - 1]
            left[y] = distance.to(generated) / max(distance.to(sources), LEAST_DISTANCE)
    return left


def _by_features(evaluation: Evaluation, domains: Sequence[str], device: torch.device) -> dict[str, float]:
    """Fréchet distances to each domain, what translations change of the content of a picture, and both as a score.

    Two different pictures of a domain show how much content there is to lose.
    """
    _require_covariances(evaluation)
    real = [feature_distances.seen(pictures, device) for pictures in evaluation.real]
    scores, figures = [], dict[str, float]()
    for y, (domain, pictures) in enumerate(zip(domains, evaluation.generated, strict=True)):
        if pictures is None:
            continue
        sources, generated = real[y - 1], feature_distances.seen(pictures, device)
        left, away = (feature_distances.frechet(x, real[y]) for x in (generated, sources))
        lost, all_lost = (feature_distances.content(sources, x) for x in (generated, sources.rolled()))
        kept = math.exp(-FORGETTING * lost / max(all_lost, LEAST_DISTANCE))
        scores.append(_both(1 - left / max(away, LEAST_DISTANCE), kept))
        figures |= {f"{LITE0} Frechet distance to {domain}": left, f"{LITE0} content loss of {domains[y - 1]}": lost}
    return figures | {FEATURE_SCORE: sum(scores) / len(scores)}


def _require_covariances(evaluation: Evaluation) -> None:
    fewest = min(len(pictures) for pictures in (*evaluation.generated, *evaluation.real) if pictures is not None)
    if fewest < distances.LEAST_PICTURES:
        raise ValueError(
            f"{distances.LEAST_PICTURES} held-out pictures of each domain are needed, but one domain has only 1"
        )


def _by_inception(evaluation: Evaluation, domains: Sequence[str], device: torch.device) -> dict[str, float]:
    _require_covariances(evaluation)
    inception = InceptionDistance(device)
    figures = {}
    for domain, generated, real in zip(domains, evaluation.generated, evaluation.real, strict=True):
        if generated is not None:
            for name, distance in inception.between(generated, real).items():
                figures[f"{name} of {domain}"] = distance
    return figures


def _by_alexnet(evaluation: Evaluation, domains: Sequence[str], device: torch.device) -> dict[str, float]:
    distance = PerceptualDistance(device)
    figures = {
        f"cycle LPIPS of {domain}": distance.between(cycled, real)
        for domain, cycled, real in zip(domains, evaluation.cycled, evaluation.real, strict=True)
        if cycled is not None
    }
    for kind, variants in evaluation.variants.items():
        figures[f"LPIPS between {kind} styles"] = distance.diversity(variants())
    return figures
