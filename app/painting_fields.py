"""The form fields of a request to paint in a style, and how they become a painting."""

import math
from dataclasses import dataclass, field

from app.style_fields import is_number, read_list, read_numbers
from app.style_options import STYLE_DEFAULT
from models.errors import Invalid
from models.serving.painting import Painting
from models.store.catalog import Model

MAX_STYLES = 8  # pictures whose styles are mixed


@dataclass(frozen=True)
class PaintingFields:
    """The fields as they were sent; those that were not are empty."""

    styles: list[bytes] = field(default_factory=list)  # pictures, as uploaded
    weights: str = ""
    code: str = ""
    strength: float = 1.0
    preserve_color: bool = False

    def painting_for(self, model: Model) -> Painting:
        """Parse the fields for this model of the family ``style``. The pictures travel beside the painting.

        Raises:
            Invalid: the style is missing or given twice, or a value is not acceptable to this model.
        """
        own = model.card.code
        if self.styles and self.code:
            raise Invalid("Send either style pictures or a code, not both.")
        if self.styles and own is not None:
            raise Invalid(f"{model.name} has one style of its own, and takes no style picture; name {STYLE_DEFAULT}.")
        if not self.styles and self.weights:
            raise Invalid("weights: they are for style pictures, and none was sent.")
        code = own
        if self.code:
            code = read_numbers("code", self.code, int(model.card.network["code_dim"]))
        if not self.styles and code is None:
            raise Invalid(
                "The picture whose style is applied is missing: send it as style, or the code that POST /style/code "
                "gives of it."
            )
        return Painting(
            code=None if self.styles else code,
            weights=read_weights(self.weights, len(self.styles)),
            strength=self.strength,
            preserve_color=self.preserve_color,
        )


def read_weights(value: str, count: int) -> list[float]:
    """Parse the field ``weights``: how much of each style picture there is in the mixture; empty: equally much.

    Returns:
        ``count`` numbers that sum to 1.

    Raises:
        Invalid: there are too many pictures, or it is no list of as many weights.
    """
    if count > MAX_STYLES:
        raise Invalid(f"style: {count} pictures; at most {MAX_STYLES} styles are mixed.")
    if not value:
        return [1 / count for _ in range(count)]
    weights = read_list("weights", value, "numbers, as [2, 1]", is_number)
    if len(weights) != count:
        raise Invalid(f"weights: {len(weights)} of them for {count} style pictures; one for each is needed.")
    total = math.fsum(weights)
    if min(weights) < 0 or total <= 0:
        raise Invalid("weights: they must not be negative, nor all 0.")
    return [weight / total for weight in weights]
