"""Form fields and query parameters that several calls share."""

from typing import Annotated

from fastapi import File, Form, Query, UploadFile
from pydantic import BaseModel, ConfigDict, Field

from app import images
from app.images import Fit
from models.errors import Invalid

MAX_WAIT_S = 600
RESOLUTIONS = range(32, 2049)

Source = Annotated[UploadFile, File(description="a picture: JPEG, PNG, WebP, GIF, BMP, TIFF or AVIF")]
Resolution = Annotated[
    str,
    Form(
        description="length of the short side in pixels, 32 to 2048; `native`: as uploaded; empty: as uploaded but at "
        "most 512, for a StarGAN model the size that it was trained at"
    ),
]
FitField = Annotated[
    Fit, Form(description="`keep` the aspect ratio, stretch to a `square`, or `crop` to the middle square")
]
Wait = Annotated[
    float, Form(ge=0, le=MAX_WAIT_S, description="seconds to wait for the result; 0: answer with the job at once")
]


class StartParameters(BaseModel):
    """Query parameters of the calls that start runs. Others are refused: a misspelt ``dry_run`` must not start one."""

    model_config = ConfigDict(extra="forbid")

    dry_run: Annotated[
        bool, Field(description="start nothing; answer with the options, sizes, memory and time of the run")
    ] = False


StartQuery = Annotated[StartParameters, Query()]


def resolution(value: str) -> images.Resolution:
    """Parse the form field ``resolution``.

    Raises:
        Invalid: the value is neither empty, ``native`` nor a number in ``RESOLUTIONS``.
    """
    if not value:
        return None
    if value == "native":
        return "native"
    if len(value) > 4 or not value.isascii() or not value.isdigit() or int(value) not in RESOLUTIONS:
        bounds = f"{RESOLUTIONS[0]} to {RESOLUTIONS[-1]}"
        raise Invalid(f"resolution: {value[:40]!r} is neither a number of pixels from {bounds} nor 'native'.")
    return int(value)
