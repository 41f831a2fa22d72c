"""The job that sizes training runs on the real networks. RQ calls it in the process that it forks for each job."""

from typing import Any

# Torch loads it when the meta device first needs it, which takes two seconds: once, before any fork.
import torch._dynamo  # noqa: F401

from models.errors import Invalid, NotInstalled
from models.training.estimate import estimate as estimate_run


def estimate(requests: list[dict[str, Any]]) -> dict[str, Any]:
    """Size runs; the answer is what :meth:`worker.preparation_queue.PreparationQueue.estimate` reads.

    Returns:
        ``{"estimates": [...]}``, one for each request, ``{"refused": why}`` if networks with these options can't be
        built, or ``{"not_installed": why}`` if they take a package that is not here.
    """
    try:
        return {"estimates": estimate_run(requests)}
    except Invalid as error:
        return {"refused": str(error)}
    except NotInstalled as error:
        return {"not_installed": str(error)}
