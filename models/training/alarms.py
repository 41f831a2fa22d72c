"""What a person watching a run would want to be told: signs that a training goes wrong while its losses are finite."""

from collections.abc import Iterator, Mapping, Sequence

import torch

from models.store.run_status import Alarm

# From which domain to which, by number → (x, generated), (N, 3, S, S) in [-1, 1].
Translations = Mapping[tuple[int, int], tuple[torch.Tensor, torch.Tensor]]

INVERTED = -0.3  # mean correlation of brightness below which generated pictures are negatives of their sources
COLLAPSED = 0.05  # contrast between generated pictures, as a share of that between their sources
WINNING = 0.15  # a discriminator's smoothed loss, as a share of what it is when undecided
WINNING_STEPS = 100  # for so long


def of_translations(translations: Translations, domains: Sequence[str], step: int) -> Iterator[Alarm]:
    """Colour inversion and collapse, told by what the generators make of the fixed inputs."""
    for (y_org, y_trg), (x, generated) in translations.items():
        what = f"{domains[y_org]} → {domains[y_trg]}"
        correlation = _brightness_correlation(x, generated)
        if correlation < INVERTED:
            yield Alarm(
                kind="colour inversion",
                step=step,
                detail=f"{what}: the brightness of what is generated runs against its source's ({correlation:+.2f})",
            )
        if len(x) > 1 and (share := _contrast_between(generated) / max(_contrast_between(x), 1e-6)) < COLLAPSED:
            yield Alarm(
                kind="collapse",
                step=step,
                detail=f"{what}: different inputs give nearly the same picture ({share:.1%} of their differences)",
            )


def _brightness_correlation(x: torch.Tensor, generated: torch.Tensor) -> float:
    """Pearson's, of each source with its generated picture, in the mean; pictures without contrast count as 0."""
    a, b = (pictures.float().mean(dim=1).flatten(1) for pictures in (x, generated))
    a, b = a - a.mean(dim=1, keepdim=True), b - b.mean(dim=1, keepdim=True)
    scale = (a.norm(dim=1) * b.norm(dim=1)).clamp_min(1e-3)
    return float(((a * b).sum(dim=1) / scale).mean())


def _contrast_between(pictures: torch.Tensor) -> float:
    """Mean absolute difference of neighbours in the batch."""
    pictures = pictures.float()
    return float((pictures - pictures.roll(1, dims=0)).abs().mean())


class DiscriminatorWatch:
    """Tells when a discriminator has won: it is sure of every picture, and its generator learns nothing more from it.

    Args:
        undecided: of what each judges → its losses' names → their values when it cannot tell at all.
        since: of what a discriminator is sure → the step from which on it is, as an earlier watch saw it.
    """

    def __init__(self, undecided: Mapping[str, Mapping[str, float]], since: Mapping[str, int] | None = None) -> None:
        self._undecided = undecided
        self.since = dict(since or {})

    def look(self, smoothed: Mapping[str, float], step: int) -> Iterator[Alarm]:
        """Look at the smoothed losses of a step."""
        for what, even in self._undecided.items():
            shares = [smoothed[name] / value for name, value in even.items() if name in smoothed]
            if not shares or max(shares) >= WINNING:
                self.since.pop(what, None)
            elif step - self.since.setdefault(what, step) >= WINNING_STEPS:
                yield Alarm(
                    kind="discriminator wins",
                    step=step,
                    detail=f"{what}: the discriminator is sure of every picture since step {self.since[what]}; its "
                    f"loss is below {WINNING:.0%} of what it is when undecided",
                )
