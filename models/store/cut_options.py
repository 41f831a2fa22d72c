"""The options of a CUT run, and the two recipes of the paper (Park et al., 2020, arXiv:2007.15651)."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from models.store.run_choices import LENGTHS, MOST, RunPlace
from models.store.unpaired_options import UnpairedChoices

FASTCUT = {"lambda_nce": 10.0, "identity_nce": False, "flip_equivariance": True, "epochs": 150, "epochs_decay": 50}


class CUTChoices(UnpairedChoices):
    """The options of a CUT run. The defaults are those of the paper's code, for the recipe that is chosen."""

    FAMILY: ClassVar[str] = "cut"
    SIZES: ClassVar[tuple[str, ...]] = (
        *UnpairedChoices.SIZES,
        "identity_nce",
        "flip_equivariance",
        "patches",
        "patch_dim",
    )

    recipe: Annotated[
        Literal["CUT", "FastCUT"],
        Field(
            description="FastCUT costs about half a step of CUT, and changes pictures less: its defaults are "
            + ", ".join(f"{name} {str(value).lower()}" for name, value in FASTCUT.items())
        ),
    ] = "CUT"
    direction: Annotated[
        Literal["AtoB", "BtoA"], Field(description="from which domain into which; there is one generator")
    ] = "AtoB"
    lambda_nce: Annotated[
        float, Field(ge=0, le=MOST, description="weight of the contrast between patches, which keeps the content")
    ] = 1.0
    identity_nce: Annotated[
        bool,
        Field(description="whether half of that weight is on pictures of the target domain, which are to stay"),
    ] = True
    flip_equivariance: Annotated[
        bool, Field(description="mirror what is translated half of the time, and compare its patches mirrored back")
    ] = False
    patches: Annotated[int, Field(ge=2, le=65536, description="patches compared in each layer of a picture")] = 256
    patch_dim: Annotated[int, Field(ge=1, le=4096, description="numbers that a patch is projected to")] = 256
    temperature: Annotated[float, Field(gt=0, le=MOST, description="divides the likeness of two patches")] = 0.07

    antialias: Annotated[bool, Field(description="halve and double pictures by a blur, which lets nothing alias")] = (
        True
    )
    epochs: Annotated[
        float, Field(ge=0, le=1e6, description="passes over the larger domain at the full learning rate")
    ] = 200
    epochs_decay: Annotated[
        float, Field(ge=0, le=1e6, description="further passes, over which the learning rate falls linearly to 0")
    ] = 200

    @model_validator(mode="before")
    @classmethod
    def _by_the_recipe(cls, given: Any) -> Any:
        """What is not given is the recipe's."""
        if not isinstance(given, dict) or given.get("recipe") != "FastCUT":
            return given
        timed = given.get("minutes") is not None  # in place of a length
        return {name: value for name, value in FASTCUT.items() if not (timed and name in LENGTHS)} | given


class CUTOptions(CUTChoices, RunPlace):
    """All options of a CUT run, as they are saved with it."""

    family: Literal["cut"] = "cut"
