"""The Python client of a Doppel server. It needs httpx, and neither torch nor anything else of the service.

    from doppel import Doppel

    with Doppel("http://localhost:8000") as doppel:
        doppel.translate("photo.jpg", model="style_monet").save("painted.png")

:class:`AsyncDoppel` has the same methods to be awaited. Every failure is an :class:`ApiError`.
"""

from doppel.answers import Job, Picture, Run
from doppel.calls.folders import Painted
from doppel.clients import AsyncDoppel, Doppel
from doppel.errors import ApiError
from doppel.events import Event

__all__ = ["ApiError", "AsyncDoppel", "Doppel", "Event", "Job", "Painted", "Picture", "Run"]
