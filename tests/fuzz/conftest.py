"""A service with the models that ship, whose weights nobody loads: the worker is the fake one."""

import pytest

from app.settings import Settings
from tests.worker.conftest import janitor

__all__ = ["janitor"]


@pytest.fixture
def settings(redis_url, tmp_path):
    return Settings(redis_url=redis_url, data_dir=tmp_path / "var", device="cpu", offline=True)
