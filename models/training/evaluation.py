"""Judging generators on pictures they were not trained on: cycle errors, and distances where their network is at hand.

FID and KID compare features of an Inception network, LPIPS those of another; their weights are not ours to ship. The
package torch-fidelity (the extra ``quality``) computes them where it is installed and the file of Inception weights is
in the folder that a run is given; elsewhere the figures are said to be not available, and why.
"""

import logging
import math
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import torch

from models.training.status import Quality

INCEPTION_FILE = "weights-inception-2015-12-05-6726825d.pth"  # as torch-fidelity names it
log = logging.getLogger("doppel.training")

DISTANCES = ("FID", "KID")
LEAST_PICTURES = 2


@dataclass(frozen=True)
class Evaluation:
    """What a trainer's generators make of held-out pictures."""

    errors: dict[str, float]  # mean absolute difference after a cycle, of pictures in [-1, 1]
    generated: dict[str, torch.Tensor]  # domain → (N, 3, S, S) in [-1, 1]
    real: dict[str, torch.Tensor]


def quality(evaluation: Evaluation, step: int, quality_dir: Path | None) -> Quality:
    """The evaluation's figures; the first is the mean cycle error, by which checkpoints are ranked."""
    errors = evaluation.errors
    figures = {"cycle error": sum(errors.values()) / len(errors)} | errors
    why = _why_not(quality_dir)
    if why is None:
        assert quality_dir is not None
        try:
            for domain, generated in evaluation.generated.items():
                figures |= _distances(domain, generated, evaluation.real[domain], quality_dir / INCEPTION_FILE)
        except Exception as error:  # a figure that cannot be taken is no reason to end a run
            log.warning("no distances were measured", exc_info=True)
            why = f"torch-fidelity failed: {error}"
    not_available = {} if why is None else dict.fromkeys(DISTANCES, why)
    not_available["LPIPS"] = "no package here carries its network's weights"
    rounded = {name: round(value, 5) for name, value in figures.items() if math.isfinite(value)}
    return Quality(step=step, figures=rounded, not_available=not_available)


def _why_not(quality_dir: Path | None) -> str | None:
    """Why distances of features are not available; None if they are."""
    if find_spec("torch_fidelity") is None:
        return "torch-fidelity is not installed (pip install 'doppel[quality]')"
    if quality_dir is None or not (quality_dir / INCEPTION_FILE).is_file():
        return f"the Inception network's weights are not here: put {INCEPTION_FILE} into DATA_DIR/quality/"
    return None


def _distances(domain: str, generated: torch.Tensor, real: torch.Tensor, weights: Path) -> dict[str, float]:
    import torch_fidelity

    found = torch_fidelity.calculate_metrics(
        input1=_Pictures(generated),
        input2=_Pictures(real),
        fid=True,
        kid=True,
        kid_subset_size=min(len(generated), len(real), 1000),
        feature_extractor_weights_path=str(weights),
        cuda=torch.cuda.is_available(),
        verbose=False,
        cache=False,
    )
    return {
        f"FID of {domain}": float(found["frechet_inception_distance"]),
        f"KID of {domain}": float(found["kernel_inception_distance_mean"]),
    }


class _Pictures(torch.utils.data.Dataset[torch.Tensor]):
    """Pictures as torch-fidelity takes them: (3, S, S) uint8."""

    def __init__(self, x: torch.Tensor) -> None:
        self._levels = x.add(1).mul(127.5).round().clamp(0, 255).to(torch.uint8)

    def __len__(self) -> int:
        return len(self._levels)

    def __getitem__(self, n: int) -> torch.Tensor:
        return self._levels[n]
