"""The services that people would write instead: a picture in by a form, through a network, and out.

``python -m bench.peer_servers KIND PORT NETWORK SIDE MEDIA_TYPE``. Each runs in an environment of its own, which
``bench/peers.py`` makes, so this module imports only what its kind needs.
"""

import io
import os
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from PIL import Image

FIXED_MS, EACH_MS = 20, 2  # of the fake network
POLL_S = 0.05  # of the naive queue's client
FORMATS = {"image/jpeg": ("JPEG", {"quality": 95}), "image/png": ("PNG", {"compress_level": 1})}

Picture = np.ndarray[Any, np.dtype[np.uint8]]
Network = Callable[[Sequence[Picture]], list[Picture]]


def decoded(data: bytes, side: int) -> Picture:
    """A square picture (side, side, 3)."""
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB").resize((side, side), Image.Resampling.BICUBIC))


def encoded(picture: Picture, media_type: str) -> bytes:
    file = io.BytesIO()
    kind, options = FORMATS[media_type]
    Image.fromarray(picture).save(file, kind, **options)
    return file.getvalue()


def network(name: str) -> Network:
    """``null`` takes no time, ``fake`` a known time, ``cyclegan`` is the paper's generator with random weights."""
    if name == "null":
        return lambda pictures: [255 - picture for picture in pictures]
    if name == "fake":

        def fake(pictures: Sequence[Picture]) -> list[Picture]:
            time.sleep((FIXED_MS + EACH_MS * len(pictures)) / 1000)
            return [255 - picture for picture in pictures]

        return fake
    return _cyclegan()


def _cyclegan() -> Network:
    import torch

    from models import pixels
    from models.cyclegan import ResnetGenerator
    from models.device import computes_bfloat16

    torch.manual_seed(0)
    dtype = torch.bfloat16 if computes_bfloat16(torch.device("cpu")) else torch.float32
    generator = ResnetGenerator(64, 9).eval().to(dtype)

    def run(pictures: Sequence[Picture]) -> list[Picture]:
        with torch.inference_mode():
            return list(pixels.to_pictures(generator(pixels.to_tensor(pictures).to(dtype)).float()))

    return run


def fastapi_service(port: int, name: str, side: int, media_type: str) -> None:
    """FastAPI on uvicorn; codecs and network run in a thread, one network call at a time."""
    import threading
    from typing import Annotated

    import uvicorn
    from fastapi import FastAPI, File, Response, UploadFile
    from starlette.concurrency import run_in_threadpool

    app, run, turn = FastAPI(), network(name), threading.Lock()

    def translated(data: bytes) -> bytes:
        picture = decoded(data, side)
        with turn:
            [result] = run([picture])
        return encoded(result, media_type)

    @app.post("/translate")
    async def translate(image: Annotated[UploadFile, File()]) -> Response:
        return Response(await run_in_threadpool(translated, await image.read()), media_type=media_type)

    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning")


def rq_service(port: int, name: str, side: int, media_type: str) -> None:
    """FastAPI that queues a job for an RQ worker, and asks every 50 ms whether it has ended."""
    import asyncio
    from typing import Annotated

    import uvicorn
    from fastapi import FastAPI, File, Response, UploadFile
    from redis import Redis
    from rq import Queue

    app = FastAPI()
    queue = Queue(connection=Redis.from_url(os.environ["REDIS_URL"]))

    @app.post("/translate")
    async def translate(image: Annotated[UploadFile, File()]) -> Response:
        job = queue.enqueue("bench.peer_servers.translated_by_rq", await image.read(), name, side, media_type)
        while (result := job.return_value(refresh=True)) is None:
            await asyncio.sleep(POLL_S)
        return Response(result, media_type=media_type)

    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning")


_networks: dict[str, Network] = {}


def translated_by_rq(data: bytes, name: str, side: int, media_type: str) -> bytes:
    """The naive queue's job."""
    if name not in _networks:
        _networks[name] = network(name)
    [result] = _networks[name]([decoded(data, side)])
    return encoded(result, media_type)


SERVICES = {"fastapi": fastapi_service, "rq": rq_service}

if __name__ == "__main__":
    SERVICES[sys.argv[1]](int(sys.argv[2]), sys.argv[3], int(sys.argv[4]), sys.argv[5])
