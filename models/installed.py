"""What can't be done where torch is not installed, and what to install for it. Loads nothing."""

import importlib.util

from models.errors import NotInstalled


def has_torch() -> bool:
    """Whether torch is installed here."""
    return importlib.util.find_spec("torch") is not None


def without_torch(what: str) -> NotInstalled:
    """The error of ``what``, the beginning of a sentence, which torch is missing for."""
    return NotInstalled(
        f"{what} needs torch, which this installation leaves out. The operator installs it with "
        "pip install 'doppel[worker]', or in a clone by make serve without LIGHT=1."
    )


def require_torch(what: str) -> None:
    """Refuse ``what`` where torch is not installed.

    Raises:
        NotInstalled: it is not.
    """
    if not has_torch():
        raise without_torch(what)
