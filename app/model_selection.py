"""Which model runs when a client names one; settled when its request is accepted, since shapes depend on it."""

import contextlib
import logging

from models.errors import Invalid, ModelUnavailable, UnknownModel
from models.store.catalog import Catalog, Model
from worker.inference_queue import InferenceQueue

log = logging.getLogger("doppel.app")


STARGAN_DEFAULTS = ("stargan-celeba-hq", "stargan-monet-lite")  # the first whose weights are here


class ModelSelection:
    """Resolves names by the catalog, and has missing weights fetched behind the client's back."""

    def __init__(self, catalog: Catalog, queue: InferenceQueue, *, offline: bool) -> None:
        self._catalog = catalog
        self._queue = queue
        self._offline = offline
        self._announced: set[str] = set()

    def running(self, name: str) -> Model:
        """The model that runs for ``name``: itself, or openly its fallback while its weights are missing.

        Raises:
            UnknownModel: there is no model of this name.
            ModelUnavailable: it cannot run, nor does it have a fallback.
        """
        asked = self._catalog.get(name)
        if asked.weights is not None:
            return asked
        if asked.availability == "not fetched" and not self._offline:
            self._queue.want(name)
        try:
            runs = self._catalog.resolve(name)
        except ModelUnavailable as error:
            if asked.availability == "not fetched" and not self._offline:
                raise ModelUnavailable(name, "being fetched now; try again in a few minutes") from error
            raise
        if name not in self._announced:
            self._announced.add(name)
            log.warning("%s runs as %s until its own weights are fetched", name, runs.name)
        return runs

    def stargan(self, name: str) -> Model:
        """The StarGAN model that runs for ``name``, or if it is empty, for a request that names none.

        Raises:
            Invalid: it is a model of another family.
            UnknownModel, ModelUnavailable: as :meth:`running`.
        """
        model = self.running(name or self._stargan_default())
        if model.card.family != "stargan_v2":
            known = [model.name for model in self._catalog.all() if model.card.family == "stargan_v2"]
            raise Invalid(f"{name} is no StarGAN model. StarGAN models: {', '.join(known) or 'none'}.")
        return model

    def _stargan_default(self) -> str:
        for name in STARGAN_DEFAULTS[:-1]:
            with contextlib.suppress(UnknownModel):
                if self._catalog.get(name).weights is not None:
                    return name
        return STARGAN_DEFAULTS[-1]
