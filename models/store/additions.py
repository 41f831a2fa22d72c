"""What to say of a weights file or an exported model that becomes a model. Loads no torch."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from models.store.names import NAME


class Addition(BaseModel):
    """The name of a new model, and what can't be read off its weights. An exported model brings the rest along."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    name: Annotated[
        str | None,
        Field(
            description="name of the model: up to 64 letters, digits, '.', '_' and '-'; of an exported model its own"
        ),
    ] = None
    network: Annotated[
        str | None,
        Field(
            max_length=200, description="the network to take, of a file that holds several (doppel check lists them)"
        ),
    ] = None
    description: Annotated[str | None, Field(max_length=2000, description="what the model does, for its card")] = None
    licence: Annotated[str | None, Field(max_length=500, description="licence of the weights, for its card")] = None
    source: Annotated[str | None, Field(max_length=500, description="where the weights are from, for its card")] = None
    image_size: Annotated[
        int | None, Field(ge=8, le=4096, description="side of the pictures that it was trained on, in px; default: 256")
    ] = None
    padding: Annotated[
        Literal["reflect", "replicate"] | None,
        Field(description="CycleGAN: how the residual blocks pad, which the weights don't tell; default: reflect"),
    ] = None
    domains: Annotated[
        list[Annotated[str, Field(min_length=1, max_length=64)]] | None,
        Field(description="StarGAN v2, which needs it: names of the domains, in the order of its training"),
    ] = None
    w_hpf: Annotated[
        float | None,
        Field(gt=0, le=1e30, description="StarGAN v2 with a high-pass path: what divides its strength; default: 1"),
    ] = None

    @field_validator("name")
    @classmethod
    def _folder_name(cls, name: str | None) -> str | None:
        if name is not None and not NAME.fullmatch(name):
            raise ValueError(
                "a model is named by up to 64 letters, digits, '.', '_' and '-', the first a letter or digit"
            )
        return name

    @field_validator("domains")
    @classmethod
    def _distinct(cls, domains: list[str] | None) -> list[str] | None:
        if domains is not None and len(set(domains)) < len(domains):
            raise ValueError("the names must differ")
        return domains
