"""Fields of forms and queries that several calls share."""

from typing import Annotated

from fastapi import File, Form, Query, UploadFile
from pydantic import BaseModel, ConfigDict, Field

from app import images
from app.images import Fit
from models.errors import Invalid

MAX_WAIT_S = 600
RESOLUTIONS = range(32, 2049)

Source = Annotated[UploadFile, File(description="JPEG, PNG, WebP, GIF, BMP, TIFF or AVIF")]
Resolution = Annotated[
    str,
    Form(
        description="short side in px, 32 to 2048; `native`: as uploaded; empty: as uploaded but at most 512, for a "
        "StarGAN model the size it was trained at"
    ),
]
FitField = Annotated[Fit, Form(description="`keep` the aspect, stretch to a `square`, or `crop` the middle square")]
Wait = Annotated[float, Form(ge=0, le=MAX_WAIT_S, description="seconds to wait for the result; 0: do not wait")]


class Manner(BaseModel):
    """How a run is asked for. A misspelt ``dry_run`` must start nothing."""

    model_config = ConfigDict(extra="forbid")

    dry_run: Annotated[bool, Field(description="only say what would be made: options, sizes, memory, time")] = False


MannerQuery = Annotated[Manner, Query()]


def resolution(value: str) -> images.Resolution:
    """The field ``resolution``, read.

    Raises:
        Invalid: it is neither a number in its range nor ``native``.
    """
    if not value:
        return None
    if value == "native":
        return "native"
    if len(value) > 4 or not value.isascii() or not value.isdigit() or int(value) not in RESOLUTIONS:
        bounds = f"{RESOLUTIONS[0]} to {RESOLUTIONS[-1]}"
        raise Invalid(f"resolution: {value[:40]!r} is neither a number of pixels from {bounds} nor 'native'.")
    return int(value)
