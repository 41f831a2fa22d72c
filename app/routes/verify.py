"""POST /verify, and GET /verify/root."""

from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, File, Response, UploadFile
from starlette.concurrency import run_in_threadpool

from app.deps import ServicesDep
from app.errors import BadPicture
from app.images import ACCEPTED
from app.routes import answers
from app.schemas import Verification
from models.errors import PictureRejected

PEM = "application/x-pem-file"

router = APIRouter(prefix="/verify", tags=["verify"])


@router.post("", summary="Verify a picture", responses=answers.problems(413, 422, 503))
async def verify(
    services: ServicesDep,
    image: Annotated[UploadFile, File(description="a picture or a video, as it was found")],
) -> Verification:
    """Is it from this service, was it altered since, which model made it, and when?

    The answer is read from the file's Content Credentials (C2PA). They are easily removed: a file without any may come
    from here all the same. `marked` tells of the other mark, an IPTC term, which is not signed.
    """
    data = await image.read()
    try:
        verdict = await services.codecs.run(services.credentials.check, data)
    except PictureRejected as error:
        raise BadPicture(f"image: The file {error}. {ACCEPTED} MP4 videos, too.") from error
    return Verification(**asdict(verdict))


@router.get(
    "/root",
    summary="Get the root certificate",
    response_class=Response,
    responses={200: answers.file("The certificate.", PEM), **answers.problems(503)},
)
async def read_root_certificate(services: ServicesDep) -> Response:
    """The certificate that vouches for this service's credentials: put it on a list of trusted ones, to recognise them.

    It is one of this installation's own, or the last of those that the operator has configured.
    """
    identity = await run_in_threadpool(lambda: services.credentials.identity)
    return Response(identity.root, media_type=PEM)
