"""A model of the family ``style`` as a function: pictures and styles in, painted pictures out; or a style's code."""

import logging
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from PIL import Image

from models.device import ServingDevice
from models.errors import NotFinite
from models.pictures import Picture
from models.serving import engines
from models.serving.engine import Moments, Numbers, Pictures, StylePainter
from models.serving.finishing import reduced, with_colours_of, with_detail_of
from models.serving.painting import Painting
from models.serving.style_codes import between
from models.serving.tiles import Tiling, translate_in_tiles
from models.store.catalog import Model
from models.store.model_card import StyleNetwork
from models.style.shape import CODE_SIDE

# The strength from which on nothing of the photo itself is mixed in. Painted in its own style, it has other colours.
PAINTED_FROM = 0.5

log = logging.getLogger("doppel.models")


class Painter:
    """The networks on their device, the painter in bfloat16 where that keeps its pictures.

    Args:
        model: of the family ``style``.

    Raises:
        ModelUnavailable: its weights are not on this machine.
        CheckpointError: its weights file does not match its card.
        DeviceError: it takes torch, which is not installed.
    """

    def __init__(self, model: Model, device: ServingDevice) -> None:
        network = StyleNetwork.model_validate(model.card.network)
        self._networks = engines.style_painter(model, device)
        self._name = model.weights_name
        self._reads_styles = network.predictor
        self.tiling = Tiling.of_painter(network, number_bytes=self._networks.number_bytes)
        self.nbytes = self._networks.nbytes
        self.precision = self._networks.precision
        log.info("loaded %s on %s as %s, %.1f MB", self._name, device.name, self.precision, self.nbytes / 1e6)

    def code(self, pictures: Sequence[Picture], weights: Sequence[float]) -> Numbers:
        """The style code (D,) of one or several pictures, mixed by weights that sum to 1.

        Only the middle square of each is looked at, at 256 px.

        Args:
            pictures: (H, W, 3) uint8 RGB each, of any shapes.

        Raises:
            NotFinite: a number of the code is NaN or infinite.
        """
        codes = self._networks.encode(np.stack([_middle_square(picture) for picture in pictures]))
        code: Numbers = np.average(codes.astype(np.float64), axis=0, weights=weights).astype(np.float32)
        if not np.isfinite(code).all():
            raise NotFinite(f"The style that {self._name!r} reads")
        return code

    def style(self, painting: Painting, styles: Sequence[Picture], picture: Picture) -> Numbers:
        """The style code (D,) in which ``picture`` is to be painted.

        Args:
            styles: the style pictures, one for each weight.

        Raises:
            NotFinite: a number of the code is NaN or infinite.
        """
        code = self.code(styles, painting.weights) if painting.code is None else np.array(painting.code, np.float32)
        if not self._reads_styles or painting.strength == 1:
            return code
        return between(self.code([picture], [1.0]), code, painting.strength)

    def paint(self, pictures: Sequence[Picture], codes: Sequence[Numbers]) -> list[Picture]:
        """Paint N pictures in the styles of N codes (D,).

        Args:
            pictures: (H, W, 3) uint8 RGB each, all of one shape, sides multiples of 4.

        Returns:
            N pictures of the same shape.

        Raises:
            NotFinite: what the network makes of a picture is NaN or infinite.
        """
        painted, finite = self._networks.paint(np.stack(pictures), np.stack(codes))
        if not finite:
            raise NotFinite(f"What {self._name!r} makes of this picture")
        return list(painted)

    def __call__(
        self, pictures: Sequence[Picture], paintings: Sequence[Painting], styles: Sequence[Sequence[Picture]]
    ) -> list[Picture]:
        """Paint N pictures as N paintings of one reduction say, each with its style pictures. As :meth:`paint`."""
        asked = list(zip(pictures, paintings, styles, strict=True))
        codes = [self.style(painting, beside, picture) for picture, painting, beside in asked]
        small = [reduced(picture, painting.reduction) for picture, painting, _ in asked]
        return [
            self.finished(painted, picture, painting)
            for painted, (picture, painting, _) in zip(self.paint(small, codes), asked, strict=True)
        ]

    def in_tiles(
        self, picture: Picture, painting: Painting, styles: Sequence[Picture]
    ) -> Iterator[tuple[float, Picture]]:
        """Paint one picture of any size, with memory for a part of it; see :mod:`models.serving.tiles`.

        Args:
            picture: (H, W, 3) uint8 RGB, sides multiples of 4.
            styles: the style pictures, one for each weight.

        Yields:
            After each step the share of the work that is done, and what is made so far; at last 1 and the picture.

        Raises:
            NotFinite: what the network makes of the picture is NaN or infinite.
        """
        network = _InStyle(self._networks, self.style(painting, styles, picture))
        small = reduced(picture, painting.reduction)
        made: Picture = np.zeros_like(small)
        for done in translate_in_tiles(network, small, made, self.tiling, name=self._name):
            yield done, self.finished(made, picture, painting) if done == 1 else made

    def filming(
        self, painting: Painting, styles: Sequence[Picture], first: Picture
    ) -> Callable[[Picture, float], Picture]:
        """A function that paints the frames of a clip one after the other, all in one style.

        Args:
            styles: the style pictures, one for each weight.
            first: a frame, whose own style stands for the clip's where the painting's strength asks for it.

        Returns:
            A function of a frame, sides multiples of 4, and of the share in which it sets the statistics that the
            frames are normalised by: 1 for a frame that has nothing in common with those before.

        Raises:
            NotFinite: a number of the code, or later of a frame, is NaN or infinite.
        """
        network = self._networks.filming(self.style(painting, styles, first))

        def paint(frame: Picture, share: float) -> Picture:
            painted, finite = network(frame[np.newaxis], share)
            if not finite:
                raise NotFinite(f"What {self._name!r} makes of this frame")
            return self.finished(painted[0], frame, painting)

        return paint

    def finished(self, painted: Picture, picture: Picture, painting: Painting) -> Picture:
        """What a painting asks for beside its style: the photo's size, the photo in part, or its colours.

        Args:
            picture: of which ``painted`` was made.
        """
        if painted.shape != picture.shape:
            painted = with_detail_of(picture, painted)
        whole_from = PAINTED_FROM if self._reads_styles else 1.0
        if painting.strength < whole_from:
            share = painting.strength / whole_from
            painted = np.asarray(Image.blend(Image.fromarray(picture), Image.fromarray(painted), share))
        return with_colours_of(picture, painted) if painting.preserve_color else painted


class Brush:
    """A painter with one painting, whose style pictures are read once: pictures in, painted pictures out.

    Args:
        styles: the style pictures, one for each weight of the painting.
    """

    def __init__(self, painter: Painter, painting: Painting, styles: Sequence[Picture]) -> None:
        code = painting.code or painter.code(styles, painting.weights).tolist()
        self.painter = painter
        self._painting = painting.model_copy(update={"code": code, "weights": []})

    def __call__(self, pictures: Sequence[Picture]) -> list[Picture]:
        """Paint N pictures of one shape, as :meth:`Painter.paint`."""
        return self.painter(pictures, [self._painting] * len(pictures), [[]] * len(pictures))

    def in_tiles(self, picture: Picture) -> Iterator[tuple[float, Picture]]:
        """Paint one picture of any size, as :meth:`Painter.in_tiles`."""
        return self.painter.in_tiles(picture, self._painting, [])

    def filming(self, first: Picture) -> Callable[[Picture, float], Picture]:
        """Paint frame after frame, as :meth:`Painter.filming`."""
        return self.painter.filming(self._painting, [], first)


class _InStyle:
    """A painter with one style, as a network from pictures to pictures."""

    def __init__(self, painter: StylePainter, code: Numbers) -> None:
        self._painter = painter
        self._code = code
        self.precision = painter.precision
        self.nbytes = painter.nbytes
        self.number_bytes = painter.number_bytes

    def __call__(self, pictures: Pictures) -> tuple[Pictures, bool]:
        return self._painter.paint(pictures, np.tile(self._code, (len(pictures), 1)))

    def measuring(self) -> Callable[[Pictures], list[Moments]]:
        return self._painter.measuring(self._code)

    def fixed(self, moments: Sequence[Moments]) -> Callable[[Pictures], tuple[Pictures, bool]]:
        return self._painter.fixed(self._code, moments)


def _middle_square(picture: Picture) -> Picture:
    height, width = picture.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = picture[top : top + side, left : left + side]
    if side == CODE_SIDE:
        return square
    resized = Image.fromarray(square).resize((CODE_SIDE, CODE_SIDE), Image.Resampling.BICUBIC)
    return np.asarray(resized)
