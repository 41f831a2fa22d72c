"""What a client wants done, once every field of its request was checked against the model that will run."""

from dataclasses import dataclass, field, replace
from typing import Any

from app.geometry import Geometry
from app.painting_fields import PaintingFields, read_weights
from app.style_fields import StyleFields, domain_index
from models.serving.painting import Painting
from models.serving.style_guide import StyleGuide
from models.store.catalog import Model
from worker.contract import LONG_KINDS, Arrangement, Kind


@dataclass(frozen=True)
class Order:
    """What a client wants done."""

    model: Model  # the one that runs
    images: list[bytes]  # the sources, as uploaded; a clip
    geometry: Geometry  # of the sources and what becomes of them
    guides: list[StyleGuide] = field(default_factory=list)  # StarGAN v2 only
    # As uploaded: one for each guide that is by reference, or the style pictures of a painting.
    references: list[bytes] = field(default_factory=list)
    painting: Painting | None = None  # by a model of the family style only
    kind: Kind = "translation"
    align: bool = False  # every picture is a photo, in which the face is to be found and aligned
    frames: int = 0  # video only: from one style to the next
    fps: int = 0  # video only: frames per second

    @property
    def long(self) -> bool:
        """Whether its job surely is a long one; that of a large picture may be, too."""
        return self.kind in (*LONG_KINDS, "clip")

    @property
    def reference_field(self) -> str:
        """The form field that the references were sent as."""
        return "reference" if self.painting is None else "style"

    @property
    def reference_geometry(self) -> Geometry:
        """What becomes of the references: of a painting's style pictures only the middle square is looked at."""
        side = self.model.card.image_size
        return Geometry.squeezed(side) if self.painting is None else Geometry.middle_square(side)

    @property
    def seeds(self) -> list[int]:
        """Of the latent codes."""
        return [guide.seed for guide in self.guides if guide.seed is not None]

    @property
    def arrangement(self) -> Arrangement | None:
        """Of the result of a grid or a video."""
        if self.kind not in LONG_KINDS:
            return None
        return Arrangement(sources=len(self.images), references=len(self.references), fps=self.fps)


def translation_order(model: Model, image: bytes, geometry: Geometry, style: StyleFields) -> Order:
    """Order a translation by a model of any family.

    Raises:
        Invalid: the style fields are not acceptable to this model.
    """
    if model.card.family == "stargan_v2":
        return stargan_order(model, [image], geometry, [style], align=True)
    if model.card.family == "style":
        style.refuse_beside_style(model)
        pictures = [style.reference] if style.reference is not None else []
        return painting_order(model, image, geometry, PaintingFields(pictures, code=style.style))
    style.refuse_for(model)
    return Order(model, [image], geometry)


def stargan_order(
    model: Model, images: list[bytes], geometry: Geometry, styles: list[StyleFields], *, align: bool, **more: Any
) -> Order:
    """Order a translation, a grid or a video by a StarGAN v2.

    Args:
        align: whether faces are aligned if the model's card says so.
        more: further fields of the order.

    Raises:
        Invalid: the fields of a style are not acceptable to this model.
    """
    return Order(
        model,
        images,
        _stargan_geometry(model, geometry),
        [style.guide_for(model) for style in styles],
        [style.reference for style in styles if style.reference is not None],
        align=align and model.card.align == "face",
        **more,
    )


def painting_order(model: Model, image: bytes, geometry: Geometry, look: PaintingFields) -> Order:
    """Order a picture painted by a model of the family ``style``.

    For coarse strokes the worker gets the picture in the size of the answer, and makes it smaller: what that costs of
    detail it can give back.

    Raises:
        Invalid: the fields are not acceptable to this model.
    """
    painting = look.painting_for(model)
    if geometry.stroke > 1:
        painting = painting.model_copy(update={"reduction": geometry.stroke})
        geometry = replace(geometry, stroke=1.0)
    return Order(model, [image], geometry, references=look.styles, painting=painting)


def clip_order(model: Model, clip: bytes, geometry: Geometry, look: PaintingFields) -> Order:
    """Order a clip painted by a model of the family ``style``. As :func:`painting_order`."""
    return Order(model, [clip], geometry, kind="clip", references=look.styles, painting=look.painting_for(model))


def mixed_code_order(model: Model, styles: list[bytes], weights: str) -> Order:
    """Order the style code of a picture, or of a mixture of several, from a model that reads styles.

    Raises:
        Invalid: there are too many pictures, or the weights don't fit them.
    """
    square = Geometry.middle_square(model.card.image_size)
    return Order(model, styles, square, kind="style", painting=Painting(weights=read_weights(weights, len(styles))))


def style_code_order(model: Model, image: bytes, domain: str, *, align: bool) -> Order:
    """Order a picture's style code from a StarGAN v2. The picture is both the source and its own reference.

    Raises:
        Invalid: the model has no such domain.
    """
    return Order(
        model,
        [image],
        Geometry.squeezed(model.card.image_size),
        [StyleGuide(domain=domain_index(model, domain))],
        kind="style",
        align=align and model.card.align == "face",
    )


def _stargan_geometry(model: Model, geometry: Geometry) -> Geometry:
    card = model.card
    # Even a face that is not aligned must fill the one shape that the landmark network reads.
    only_square = card.image_size if card.align == "face" else None
    return replace(
        geometry, standard=card.image_size, enlarge=True, multiple=card.side_multiple, only_square=only_square
    )
