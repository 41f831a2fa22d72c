"""What computes a model's pictures: the two protocols that every engine has. Loads neither torch nor OpenVINO."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from models.pictures import Picture

Pictures = NDArray[np.uint8]  # (N, H, W, 3) RGB, 0 to 255
Numbers = NDArray[np.float32]
Moments = tuple[Numbers, Numbers]  # mean and variance of each channel of a layer, (C,)


T = TypeVar("T")
U = TypeVar("U")


@dataclass(frozen=True)
class Pending(Generic[T]):
    """Results that are computed beside the thread that asked for them."""

    done: Callable[[], bool]
    result: Callable[[], T]  # waits until they are done

    def then(self, change: Callable[[T], U]) -> "Pending[U]":
        """What the results are changed to, by the thread that asks for it."""
        return Pending(self.done, lambda: change(self.result()))


class Engine(Protocol):
    """Any network that an engine runs."""

    @property
    def precision(self) -> str:
        """Of its features, for people."""

    @property
    def nbytes(self) -> int:
        """Of its weights in memory."""


class PictureNetwork(Engine, Protocol):
    """A network from pictures to pictures. Value ranges, margins and what computes are its own affair."""

    @property
    def number_bytes(self) -> int:
        """Of one feature."""

    def __call__(self, pictures: Pictures) -> tuple[Pictures, bool]:
        """As many pictures of the same shape, and whether all numbers that they were made of are finite."""

    def measuring(self) -> Callable[[Pictures], list[Moments]]:
        """A function that measures what each instance normalisation gets over a batch, in the order of the layers.

        The layers before it are normalised by the same moments. There is no margin.
        """

    def fixed(self, moments: Sequence[Moments]) -> Callable[[Pictures], tuple[Pictures, bool]]:
        """The network without its margin, its instance normalisations by these moments for whatever it gets.

        Args:
            moments: as :meth:`measuring` gives them; empty if it has no such layer.
        """


@runtime_checkable
class AsynchronousNetwork(PictureNetwork, Protocol):
    """A network that computes beside the thread that calls it."""

    def submit(self, pictures: Sequence[Picture]) -> Pending[tuple[Pictures, bool]]:
        """Start on N pictures (H, W, 3) of one shape; the results are as a call gives them.

        Batches are computed in the order in which they were submitted, and may be waited for in any.
        """


class StylistNetworks(Engine, Protocol):
    """The networks of one StarGAN v2. ``D`` is the number of its domains, ``S`` the length of a style code."""

    @property
    def latent_dim(self) -> int:
        """Length of a latent code."""

    def prepare(self, pictures: Pictures) -> Any:
        """What depends on N sources alone, in the engine's own form. Sides are multiples of the model's."""

    def generate(self, sources: Any, indices: Sequence[int], styles: Numbers) -> tuple[Pictures, bool]:
        """One picture for each index into ``sources`` and style (N, S), and whether all their numbers are finite."""

    def map_latents(self, latents: Numbers) -> Numbers:
        """The styles (N, D, S) of latent codes (N, latent_dim), one for each domain."""

    def encode(self, references: Pictures) -> Numbers:
        """The styles (N, D, S) of pictures of the model's own size, as pictures of each domain."""

    def align(self, faces: Pictures) -> Pictures:
        """Turn, scale and crop cut-out faces (N, S, S, 3) as those of the training set were.

        Raises:
            ValueError: this model has no landmark network.
        """


class StylePainter(Engine, Protocol):
    """The networks of one model of the family ``style``. ``D`` is the length of its style codes."""

    @property
    def number_bytes(self) -> int:
        """Of one feature of the painter."""

    def encode(self, pictures: Pictures) -> Numbers:
        """The style codes (N, D) of pictures (N, 256, 256, 3).

        Raises:
            ValueError: this model has no network that reads them.
        """

    def paint(self, pictures: Pictures, codes: Numbers) -> tuple[Pictures, bool]:
        """Each picture in the style of its code (N, D), and whether all their numbers are finite."""

    def measuring(self, code: Numbers) -> Callable[[Pictures], list[Moments]]:
        """As :meth:`PictureNetwork.measuring`, in the style of a code (D,)."""

    def filming(self, code: Numbers) -> Callable[[Pictures, float], tuple[Pictures, bool]]:
        """A function that paints frame after frame, (1, H, W, 3), in the style of a code (D,), with running statistics.

        Each normalisation is by a mean and a variance of its own that change from frame to frame: towards the present
        frame's by the share that is passed with it, 0 to 1. The first frame needs 1.
        """

    def fixed(self, code: Numbers, moments: Sequence[Moments]) -> Callable[[Pictures], tuple[Pictures, bool]]:
        """The painter in the style of a code (D,), its normalisations by these moments for whatever it gets."""
