"""The style that a StarGAN v2 gives a picture, as it travels from the API to the worker. Loads no torch."""

from pydantic import BaseModel


class StyleGuide(BaseModel):
    """A domain, and at most one of a seed, a latent code and a style code.

    With none of the three the style is that of a reference picture, which is passed beside the guide.
    """

    domain: int  # index into the model's domains
    psi: float = 1.0  # truncation of a latent code's style towards the domain's mean; 1: none
    seed: int | None = None  # of a latent code
    latent: list[float] | None = None  # a latent code, latent_dim numbers
    style: list[float] | None = None  # a style code, style_dim numbers

    @property
    def by_reference(self) -> bool:
        return self.seed is None and self.latent is None and self.style is None
