"""The least that a service can do with a picture: FastAPI that decodes and encodes it, with no queue and no model.

``uvicorn bench.plain:app`` is what the whole service's latency is compared with.
"""

from typing import Annotated

from fastapi import FastAPI, File, Response, UploadFile
from starlette.concurrency import run_in_threadpool

from app import images
from app.geometry import Geometry

app = FastAPI()


@app.post("/translate")
async def translate(image: Annotated[UploadFile, File()]) -> Response:
    body = await run_in_threadpool(_recode, await image.read())
    return Response(body, media_type="image/jpeg")


def _recode(data: bytes) -> bytes:
    picture = images.prepare(data, Geometry(), max_pixels=50_000_000, max_output_pixels=4_194_304).picture
    return images.encode(picture, "image/jpeg")
