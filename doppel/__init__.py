"""The Python client of a Doppel server. It needs httpx, and neither torch nor anything else of the service.

    from doppel import Doppel

    with Doppel("http://localhost:8000") as doppel:
        doppel.translate("photo.jpg", model="style_monet").save("painted.png")

:class:`AsyncDoppel` has the same methods to be awaited. Every failure is an :class:`ApiError`.
:func:`verify_webhook` checks what a server sends when a job has ended.
"""

from doppel.answers import Job, Picture, Run
from doppel.calls.folders import Painted
from doppel.clients import AsyncDoppel, Doppel
from doppel.errors import ApiError, BadSignature
from doppel.events import Event
from doppel.webhooks import verify_webhook

__all__ = [
    "ApiError",
    "AsyncDoppel",
    "BadSignature",
    "Doppel",
    "Event",
    "Job",
    "Painted",
    "Picture",
    "Run",
    "verify_webhook",
]
