"""The calls of the API, each written once for both clients, as steps."""

from doppel.calls import folders, jobs, models, pictures, training

__all__ = ["folders", "jobs", "models", "pictures", "training"]
