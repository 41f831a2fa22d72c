"""Signs that a training goes wrong although its losses are finite."""

from collections.abc import Iterator, Mapping, Sequence

import torch

from models.store.run_status import Alarm

# (source domain, target domain) by number → (x, generated), each (N, 3, S, S) in [-1, 1].
Translations = Mapping[tuple[int, int], tuple[torch.Tensor, torch.Tensor]]

INVERTED = -0.3  # mean correlation of brightness below which generated pictures are negatives of their sources
DISTINCT = 1e-3  # contrast between inputs above which they are different pictures; a domain may have only one
COLLAPSED = 0.05  # contrast between generated pictures, as a share of the contrast between their sources
WINNING = 0.15  # smoothed loss of a discriminator, as a share of its loss when undecided
WINNING_STEPS = 100  # steps in a row below WINNING before there is an alarm


def of_translations(translations: Translations, domains: Sequence[str], step: int) -> Iterator[Alarm]:
    """Find colour inversion and collapse in what the generators make of the fixed inputs."""
    for (y_org, y_trg), (x, generated) in translations.items():
        subject = f"{domains[y_org]} → {domains[y_trg]}"
        correlation = _brightness_correlation(x, generated)
        if correlation < INVERTED:
            yield Alarm(
                kind="colour inversion",
                subject=subject,
                step=step,
                detail=f"{subject}: generated pictures are bright where their sources are dark (correlation "
                f"{correlation:+.2f})",
            )
        between = _contrast_between(x)
        if between > DISTINCT and (share := _contrast_between(generated) / between) < COLLAPSED:
            yield Alarm(
                kind="collapse",
                subject=subject,
                step=step,
                detail=f"{subject}: different inputs give nearly the same picture ({share:.1%} of the "
                "differences between the inputs)",
            )


def _brightness_correlation(x: torch.Tensor, generated: torch.Tensor) -> float:
    """Pearson's correlation of each source with its generated picture, averaged; 0 for pictures without contrast."""
    a, b = (pictures.float().mean(dim=1).flatten(1) for pictures in (x, generated))
    a, b = a - a.mean(dim=1, keepdim=True), b - b.mean(dim=1, keepdim=True)
    scale = (a.norm(dim=1) * b.norm(dim=1)).clamp_min(1e-3)
    return float(((a * b).sum(dim=1) / scale).mean())


def _contrast_between(pictures: torch.Tensor) -> float:
    """Mean absolute difference of neighbours in the batch."""
    pictures = pictures.float()
    return float((pictures - pictures.roll(1, dims=0)).abs().mean())


class DiscriminatorWatch:
    """Notices a discriminator that has won: it is sure of every picture, so its generator learns nothing from it.

    Args:
        undecided: see :attr:`models.training.loop.Trainer.undecided`.
        since: subject → the step since which the discriminator has been sure, from an earlier attempt.
    """

    def __init__(self, undecided: Mapping[str, Mapping[str, float]], since: Mapping[str, int] | None = None) -> None:
        self._undecided = undecided
        # An attempt by an earlier version may have had other subjects.
        self.since = {subject: step for subject, step in (since or {}).items() if subject in undecided}

    def look(self, smoothed: Mapping[str, float], step: int) -> Iterator[Alarm]:
        """Check the smoothed losses of a step."""
        for subject, even in self._undecided.items():
            shares = [smoothed[name] / value for name, value in even.items() if name in smoothed]
            if not shares or max(shares) >= WINNING:
                self.since.pop(subject, None)
            elif step - self.since.setdefault(subject, step) >= WINNING_STEPS:
                yield Alarm(
                    kind="discriminator wins",
                    subject=subject,
                    step=step,
                    detail=f"{subject}: the discriminator has been sure of every picture since step "
                    f"{self.since[subject]}; its loss is below {WINNING:.0%} of its value when undecided",
                )
