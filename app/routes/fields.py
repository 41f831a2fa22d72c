"""Form fields and query parameters that several calls share."""

from typing import Annotated

from fastapi import File, Form, Query, UploadFile
from pydantic import BaseModel, ConfigDict, Field

from app import geometry
from app.geometry import Fit
from app.webhook_targets import FIELD
from models.errors import Invalid

MAX_WAIT_S = 600
RESOLUTIONS = range(32, 2049)

Source = Annotated[UploadFile, File(description="a picture: JPEG, PNG, WebP, GIF, BMP, TIFF or AVIF")]
Resolution = Annotated[
    str,
    Form(
        description="length of the short side in pixels, 32 to 2048; `native`: as uploaded; empty: as uploaded but at "
        "most 512, for a StarGAN model the size that it was trained at; `source`: translated as if it were empty, and "
        "the answer enlarged or reduced to the shape of the upload"
    ),
]
FitField = Annotated[
    Fit, Form(description="`keep` the aspect ratio, stretch to a `square`, or `crop` to the middle square")
]
Wait = Annotated[
    float, Form(ge=0, le=MAX_WAIT_S, description="seconds to wait for the result; 0: answer with the job at once")
]

Webhook = Annotated[str, Form(description=FIELD.format(what="job", call="/jobs/{id}"))]


class StartParameters(BaseModel):
    """Query parameters of the calls that start runs. Others are refused: a misspelt ``dry_run`` must not start one."""

    model_config = ConfigDict(extra="forbid")

    dry_run: Annotated[
        bool, Field(description="start nothing; answer with the options, sizes, memory and time of the run")
    ] = False


StartQuery = Annotated[StartParameters, Query()]


def resolution(value: str) -> geometry.Resolution:
    """Parse the form field ``resolution``.

    Raises:
        Invalid: the value is neither empty, ``native``, ``source`` nor a number in ``RESOLUTIONS``.
    """
    if not value:
        return None
    match value:
        case "native" | "source":
            return value
    if len(value) > 4 or not value.isascii() or not value.isdigit() or int(value) not in RESOLUTIONS:
        bounds = f"{RESOLUTIONS[0]} to {RESOLUTIONS[-1]}"
        raise Invalid(f"resolution: {value[:40]!r} is no number of pixels from {bounds}, 'native' or 'source'.")
    return int(value)
