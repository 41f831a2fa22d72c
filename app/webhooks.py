"""Orders to report the end of a job or a run: the form field ``webhook``, checked and made to wait."""

from typing import Literal

from app.settings import Settings
from app.webhook_targets import Targets
from models.errors import Invalid
from worker.errors import QueueFull
from worker.inference_queue import translating_errors
from worker.webhooks import MOST_WAITING, Hook, Hooks

RETRY_AFTER_S = 60


class Webhooks:
    """Takes orders. Who delivers is ``webhook_sender.py``.

    Attributes:
        targets: the addresses that are accepted.
    """

    def __init__(self, settings: Settings, hooks: Hooks) -> None:
        self._wanted = settings.webhooks
        self._hooks = hooks
        self.targets = Targets(http=settings.webhook_http, private=settings.webhook_private)

    def check(self, url: str | None) -> None:
        """Refuse an address that is never reached.

        Raises:
            Invalid
        """
        if not url:
            return
        if not self._wanted:
            raise Invalid("webhook: this server reports to no addresses; leave it out.")
        self.targets.parse(url)

    def require_room(self, url: str | None) -> None:
        """Refuse an order if too many wait. Jobs whose queue has a limit need not ask.

        Raises:
            QueueFull
        """
        if not url:
            return
        with translating_errors():
            waiting = self._hooks.waiting()
        if waiting >= MOST_WAITING:
            raise QueueFull(
                f"{waiting} webhooks are waiting already. Try again later, or without webhook.",
                retry_after_s=RETRY_AFTER_S,
            )

    def hook(
        self, url: str | None, subject: Literal["job", "run"], id: str, *, turn: int = 1, owner: str | None = None
    ) -> Hook | None:
        """The hook for an address, which is not waiting yet; None for none.

        Args:
            turn: of a run: the attempt at whose end it is to be told.
            owner: the name of the API key that ordered it.

        Raises:
            Invalid: the address is never reached.
        """
        self.check(url)
        return Hook(subject=subject, id=id, turn=turn, url=url, owner=owner) if url else None

    def order(self, hook: Hook | None) -> None:
        """Make a hook wait; None does nothing.

        Raises:
            QueueError: Redis does not take it.
        """
        if hook is not None:
            with translating_errors():
                self._hooks.order(hook)
