"""Requests that are sent again under one ``Idempotency-Key``: answered by what the first one made."""

import asyncio
import contextlib
import json
import time
from typing import Any

from fastapi import FastAPI, Request, Response
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData, Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.deps import Services
from app.errors import Expired
from app.keyed_requests import HEADER, SCOPE, WAIT, fingerprint, key_of, keyed
from app.negotiation import JSON, accepted_type
from app.parameters import refuse_unknown
from app.rendering import OFFERED
from app.replies import reply
from app.routes.fields import MAX_WAIT_S
from app.submitting import Submission
from app.upload_jobs import job_answer, outcome
from models.errors import Invalid, NotFound, Unavailable
from models.store.runs import run_id_of
from worker.contract import JobEvent, JobState
from worker.errors import QueueError
from worker.request_keys import KeyedRequest, Turn
from worker.shared_connection import SharedConnection

BUSY_S = 10.0  # that a repeat waits until the first request has made its job
LOOK_S = 0.05
USUAL_WAIT_S = 60.0  # that the forms wait for a result if they don't say
MAX_ANSWER = 256 << 10  # bytes of an answer that is stored

_HEADER = HEADER.lower().encode()


class _Answered(Exception):
    """A repeat has its answer, so the call is not carried out. A dependency has no other way to say so."""

    def __init__(self, response: Response) -> None:
        super().__init__()
        self.response = response


def install_idempotency(app: FastAPI, connection: SharedConnection) -> None:
    """Let every POST of ``app`` take the header. Its routes must depend on :func:`admit`."""
    app.add_middleware(KeyedAnswers, connection=connection)

    async def answered(request: Request, error: Exception) -> Response:
        assert isinstance(error, _Answered)
        return error.response

    app.add_exception_handler(_Answered, answered)


async def admit(request: Request) -> None:
    """Refuse what a call does not take; and let a request with a key pass only if it is the first of its kind.

    A dependency of all routes.

    Raises:
        _Answered: it is a repeat, and this is its answer.
        Invalid: the request or its key is malformed, or the key came with another request before.
        Expired: what the first request made was deleted.
        Unavailable: the first request is still being received.
    """
    await refuse_unknown(request)
    found = keyed(request)
    if found is None or found.begun:
        return
    key, asked = key_of(request), await fingerprint(request)
    services: Services = request.app.state.services
    give_up_at = time.monotonic() + BUSY_S
    while (turn := await found.begin(key, asked)) is Turn.BUSY:
        if time.monotonic() > give_up_at:
            raise Unavailable(f"Another request with this {HEADER} is being received.", retry_after_s=1)
        await asyncio.sleep(LOOK_S)
    if turn is Turn.OTHER:
        raise Invalid(f"{HEADER}: this key came with another request before. Draw a new key for each new request.")
    if turn is Turn.ABANDONED:
        response = await _made(request, services, found)
        if response is not None:
            await found.made()
            raise _Answered(response)
    if turn is Turn.DONE:
        raise _Answered(await _repeated(request, services, found))


async def _repeated(request: Request, services: Services, found: KeyedRequest) -> Response:
    """The answer to a repeat of a request that made something.

    Raises:
        Expired: that was deleted.
    """
    if found.answer is not None:
        stored = json.loads(found.answer)
        headers = {"Location": stored["location"]} if stored["location"] else None
        return Response(stored["body"], stored["status"], headers, JSON)
    response = await _made(request, services, found)
    if response is None:
        raise Expired(f"What the first request with this {HEADER} made was deleted. Send it with a new key.")
    return response


async def _made(request: Request, services: Services, found: KeyedRequest) -> Response | None:
    """The answer by the job, run or comparison that the first request made; None if there is none."""
    if (state := await services.jobs.state(found.id)) is not None:
        return await _job_answer(request, services, state)
    run_id = run_id_of(found.id)
    with contextlib.suppress(NotFound):
        run = await run_in_threadpool(services.runs.view, run_id)
        return Response(run.model_dump_json(), 202, {"Location": run.links["self"]}, JSON)
    with contextlib.suppress(NotFound):
        comparison = await run_in_threadpool(services.comparisons.view, run_id)
        return Response(comparison.model_dump_json(), 202, {"Location": comparison.links["self"]}, JSON)
    return None


async def _job_answer(request: Request, services: Services, state: JobState) -> Response:
    """What the call answers that ordered this job: the job's result, waited for, or the job."""
    wait_s = _wait_s(await request.form())
    offered = OFFERED[state.kind]
    media_type = accepted_type(request.headers.get("accept"), offered) if offered else JSON
    with services.dispatcher.watching(state.id) as events:
        state = await services.jobs.state(state.id) or state
        end: JobEvent | None = None
        if state.status.ended:
            end = state.event()
        elif wait_s:
            end = await services.dispatcher.wait_for_end(request, state.id, events, wait_s)
    if state.kind in ("dataset", "model", "fetch"):
        return job_answer(await outcome(services, state.id, waited=end is not None))
    response = await reply(services, Submission.of(state, end), media_type)
    if state.kind == "style" and response.status_code == 200:
        response.status_code = 202  # 200 is a style code and not the job, which has it
    return response


def _wait_s(form: FormData) -> float:
    sent = form.get(WAIT, USUAL_WAIT_S)
    with contextlib.suppress(ValueError, TypeError):
        if 0 <= (wait_s := float(sent or USUAL_WAIT_S)) <= MAX_WAIT_S:  # type: ignore[arg-type]
            return wait_s
    raise Invalid(f"{WAIT}: 0 to {MAX_WAIT_S} seconds are accepted.")


class KeyedAnswers:
    """ASGI middleware: stores short answers to requests with a key, and forgets the key of one that was refused."""

    def __init__(self, app: ASGIApp, connection: SharedConnection) -> None:
        self.app = app
        self._connection = connection

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        keyed_post = (
            scope["type"] == "http"
            and scope["method"] == "POST"
            and _HEADER in [name for name, _ in scope["headers"]]  # faster than any()
        )
        if not keyed_post:
            await self.app(scope, receive, send)
            return
        found = KeyedRequest(self._connection)
        answer = _Answer(found, send)
        try:
            await self.app({**scope, SCOPE: found}, receive, answer.send)
        finally:
            if found.begun:  # it ended without an answer
                with contextlib.suppress(QueueError):
                    await found.release()


class _Answer:
    """Passes an answer on. Before its end the key is finished, so that the next request finds what there is."""

    def __init__(self, found: KeyedRequest, send: Send) -> None:
        self._found = found
        self._send = send
        self._stored: dict[str, Any] | None = None  # None: it is not stored
        self._body = b""

    async def send(self, message: Message) -> None:
        if self._found.begun:
            # The job or run is made, and must be answered even if Redis has just been lost.
            with contextlib.suppress(QueueError):
                await self._look_at(message)
        await self._send(message)

    async def _look_at(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = Headers(raw=message["headers"])
            if message["status"] >= 400:
                await self._found.release()
            elif "x-job-id" in headers or headers.get("content-type") != JSON:
                await self._end(b"")  # the next one is answered by the job
            else:
                self._stored = {"status": message["status"], "location": headers.get("location")}
        elif message["type"] == "http.response.body" and self._stored is not None:
            self._body += message.get("body", b"")
            if not message.get("more_body", False):
                stored = json.dumps({**self._stored, "body": self._body.decode()}).encode()
                await self._end(stored if len(stored) <= MAX_ANSWER else b"")

    async def _end(self, stored: bytes) -> None:
        self._found.close()
        await self._found.made(stored)
