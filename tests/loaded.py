"""What forks inherit: torch, all that trains, and the fake worker."""

from models.process import quick_imports

with quick_imports():
    import models.training.__main__  # noqa: F401
    import tests.fake_worker
    import tests.models.spread  # noqa: F401
