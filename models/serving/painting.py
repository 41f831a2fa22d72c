"""How a picture is painted in a style, as it travels from the API to the worker. Loads no torch."""

from pydantic import BaseModel


class Painting(BaseModel):
    """A style, by its code or by style pictures that are passed beside it, and how much of it is wanted.

    Without a code the style is the weighted mean of the pictures' style codes.
    """

    code: list[float] | None = None
    weights: list[float] = []  # one for each style picture; they sum to 1
    strength: float = 1.0  # between the photo, 0, and the whole style, 1
    reduction: float = 1.0  # how many times smaller the photo is while it is painted; its fine lightness is given back
    preserve_color: bool = False  # take only the lightness of the painted picture, and the photo's colours
