"""What forks inherit: torch, and all that trains."""

from models.process import quick_imports

with quick_imports():
    import models.training.__main__  # noqa: F401
    import tests.models.spread  # noqa: F401
