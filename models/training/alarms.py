"""What a person watching a run would want to be told: signs that a training goes wrong while its losses are finite."""

from collections.abc import Iterator, Mapping

import torch

from models.training.status import Alarm

Translations = Mapping[str, tuple[torch.Tensor, torch.Tensor]]  # of what → (x, generated), (N, 3, S, S) in [-1, 1]

INVERTED = -0.3  # mean correlation of brightness below which generated pictures are negatives of their sources
COLLAPSED = 0.05  # contrast between generated pictures, as a share of that between their sources
WINNING = 0.05  # a discriminator's smoothed loss, as a share of what it is when undecided
WINNING_STEPS = 100  # for so long


def of_translations(translations: Translations, step: int) -> Iterator[Alarm]:
    """Colour inversion and collapse, told by what the generators make of the fixed inputs."""
    for what, (x, generated) in translations.items():
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
    """Tells when the discriminators have won: they are sure of every picture, and the generators learn nothing more.

    Args:
        undecided: name of each discriminator's loss → its value when it cannot tell at all.
    """

    def __init__(self, undecided: Mapping[str, float]) -> None:
        self._undecided = undecided
        self._since: int | None = None

    def look(self, smoothed: Mapping[str, float], step: int) -> Alarm | None:
        """Look at the smoothed losses of a step."""
        shares = [smoothed[name] / even for name, even in self._undecided.items() if name in smoothed]
        if not shares or max(shares) >= WINNING:
            self._since = None
            return None
        self._since = step if self._since is None else self._since
        if step - self._since < WINNING_STEPS:
            return None
        return Alarm(
            kind="discriminator wins",
            step=step,
            detail=f"the discriminators' losses are below {WINNING:.0%} of undecided since step {self._since}",
        )
