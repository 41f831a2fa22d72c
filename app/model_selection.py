"""Which model runs when a client names one. Decided when the request is accepted, since shapes depend on it."""

import contextlib
import logging

from anyio import to_thread

from models.errors import Invalid, ModelUnavailable, NotInstalled, Unavailable, UnknownModel
from models.store.catalog import Catalog, Model
from worker import contract
from worker.preparation_queue import PreparationQueue
from worker.webhooks import HookOf, no_hook

STARGAN_DEFAULTS = ("stargan-celeba-hq", "stargan-monet-lite")  # the first one whose weights are here runs

log = logging.getLogger("doppel.app")


class ModelSelection:
    """Looks models up in the catalog, and has missing weights fetched in the background."""

    def __init__(self, catalog: Catalog, preparation: PreparationQueue, *, offline: bool) -> None:
        self._catalog = catalog
        self._preparation = preparation
        self._offline = offline
        self._announced: set[str] = set()

    def running(self, name: str) -> Model:
        """Return the model that runs for ``name``: itself, or its fallback while its weights are missing.

        Raises:
            UnknownModel: there is no model of this name.
            ModelUnavailable: its weights are missing, and it has no fallback.
        """
        wanted = self._catalog.get(name)
        if wanted.weights is not None:
            return wanted
        fetched, no_torch = False, None
        if wanted.availability == "not fetched" and not self._offline:
            try:
                fetched = bool(self.fetch(name))
            except NotInstalled as error:
                no_torch = error
            except Unavailable as error:
                log.warning("the weights of %s are not fetched: %s", name, error)
        try:
            runs = self._catalog.resolve(name)
        except ModelUnavailable as error:
            if fetched:
                raise ModelUnavailable(name, "being fetched now; try again in a few minutes") from error
            raise no_torch or error from None
        if name not in self._announced:
            self._announced.add(name)
            log.warning("%s runs as %s until its own weights are fetched", name, runs.name)
        return runs

    def fetch(self, name: str, hook_of: HookOf = no_hook) -> str:
        """Have a preparer download a model's weights; the id of the job, which may be under way already.

        Args:
            hook_of: whom to tell how the job of this id ended.

        Raises:
            ModelUnavailable: this server downloads nothing.
            Unavailable: no preparer was heard of for a while.
            NotInstalled: the preparers have no torch.
        """
        if self._offline:
            raise ModelUnavailable(name, "it downloads nothing: DOPPEL_OFFLINE is set")
        needing_torch = "Reading the files that upstream publishes"
        self._preparation.require_preparer(contract.FETCH_QUEUE, torch_for=needing_torch)
        return self._preparation.fetch(name, hook_of)

    async def running_soon(self, name: str) -> Model:
        """As :meth:`running`, in a thread if the model's files must be looked at."""
        known = self._catalog.known(name)
        return known if known is not None else await to_thread.run_sync(self.running, name)

    def stargan(self, name: str) -> Model:
        """Return the StarGAN v2 that runs for ``name``; an empty name means the default.

        Raises:
            Invalid: the model is of another family.
            UnknownModel, ModelUnavailable: as :meth:`running`.
        """
        model = self.running(name or self._stargan_default())
        if model.card.family != "stargan_v2":
            known = [model.name for model in self._catalog.all() if model.card.family == "stargan_v2"]
            raise Invalid(f"{name} is no StarGAN model. StarGAN models: {', '.join(known) or 'none'}.")
        return model

    def style(self, name: str) -> Model:
        """Return the model of the family ``style`` that runs for ``name``.

        Raises:
            Invalid: the model is of another family.
            UnknownModel, ModelUnavailable: as :meth:`running`.
        """
        model = self.running(name)
        if model.card.family != "style":
            raise Invalid(f"{name} does not paint in a style: it is no model of the family style, see GET /models.")
        return model

    def _stargan_default(self) -> str:
        for name in STARGAN_DEFAULTS[:-1]:
            with contextlib.suppress(UnknownModel):
                if self._catalog.get(name).weights is not None:
                    return name
        return STARGAN_DEFAULTS[-1]
