"""The error tree: what its documentation shows, and that every branch has an answer."""

import importlib
import pkgutil
import re

import pytest

import app
import models
import worker
from app import errors as http_errors
from models import errors as model_errors
from models.errors import DoppelError
from worker import errors as queue_errors

NOT_LOADED = {"models.gpu_kernels"}  # it has no errors, and loads Triton, which is kept away where there is no GPU


def subclasses(kind):
    return {kind, *(found for child in kind.__subclasses__() for found in subclasses(child))}


@pytest.fixture(scope="module")
def tree():
    """Every error class of the three packages."""
    for package in (models, worker, app):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if module.name not in NOT_LOADED and not module.name.endswith("__main__"):
                importlib.import_module(module.name)
    return {kind for kind in subclasses(DoppelError) if kind.__module__.split(".")[0] in ("app", "worker", "models")}


def test_the_documented_trees_name_every_error_and_no_other(tree):
    documented = set()
    for module in (model_errors, queue_errors, http_errors):
        documented |= set(
            re.findall(r"^(?:[│├└─ ]*)([A-Z]\w+)(?= |$)", module.__doc__.split("\n\n", 1)[1], re.MULTILINE)
        )
    assert {kind.__name__ for kind in tree} == documented - {"The", "This"}


def test_no_exception_stands_outside_the_tree(tree):
    modules = [name for name in list(importlib.sys.modules) if name.split(".")[0] in ("app", "worker", "models")]
    strangers = {
        f"{name}.{value.__name__}"
        for name in modules
        for value in vars(importlib.sys.modules[name]).values()
        if isinstance(value, type) and issubclass(value, Exception) and value.__module__ == name
        if not issubclass(value, DoppelError) and not value.__name__.startswith("_")
    }
    assert not strangers
