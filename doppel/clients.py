"""The clients: what carries the steps of the calls out, once blocking and once with ``await``."""

import asyncio
import functools
import inspect
import os
import secrets
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar, cast, get_args

import httpx

from doppel import calls
from doppel.errors import ApiError
from doppel.events import EventReader
from doppel.steps import Attempt, Pause, Send, Step, Steps, Together, Watch, attempts

URL = "http://localhost:8000"
CONNECT_S = 10.0
MORE_S = 30.0  # that a stream of events may say nothing, of which the server sends a sign of life each 15 s

P = ParamSpec("P")
T = TypeVar("T")
Http = TypeVar("Http", httpx.Client, httpx.AsyncClient)


class _Client(Generic[Http]):
    """What both clients have: where the server is, and who asks."""

    _http_class: type[Http]

    def __init__(
        self,
        url: str | None = None,
        *,
        api_key: str | None = None,
        client_name: str | None = None,
        tries: int = 5,
        timeout_s: float = 120.0,
        **http: Any,
    ) -> None:
        """
        Args:
            url: of the server, with the prefix under which a proxy publishes it, if any; None takes the environment's
                ``DOPPEL_URL``, or ``http://localhost:8000``.
            api_key: None takes the environment's ``DOPPEL_API_KEY``, or sends none.
            client_name: 16 to 64 letters, digits, "-" and "_" under which this client's jobs can be listed, and which
                is as good as a password for them; None takes the environment's ``DOPPEL_CLIENT``, or draws one.
            tries: how often a request is sent at most that is not answered, or answered 429, 502, 503 or 504. The
                client waits as long as ``Retry-After`` says, up to a minute; or half a second, then twice as long.
            timeout_s: how long an answer may take, in seconds. After 60 s the server answers by a job, if there is no
                result yet.
            http: options of the ``httpx`` client, such as ``verify`` and ``transport``.
        """
        key = api_key or os.environ.get("DOPPEL_API_KEY")
        self.client_name = client_name or os.environ.get("DOPPEL_CLIENT") or secrets.token_hex(16)
        self._tries = tries
        options: dict[str, Any] = {
            "base_url": url or os.environ.get("DOPPEL_URL") or URL,
            "headers": {"X-Client": self.client_name} | ({"Authorization": f"Bearer {key}"} if key else {}),
            "timeout": httpx.Timeout(timeout_s, connect=CONNECT_S, pool=None),
            **http,
        }
        self._http: Http = self._http_class(**options)


def _signature(call: Callable[..., Any]) -> inspect.Signature:
    """The signature of the method that a call becomes."""
    own = inspect.signature(call)
    itself = inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return own.replace(
        parameters=[itself, *own.parameters.values()], return_annotation=get_args(own.return_annotation)[-1]
    )


def _blocking(call: Callable[P, Steps[T]]) -> Callable[Concatenate["Doppel", P], T]:
    @functools.wraps(call)
    def method(self: "Doppel", /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self.carry_out(call(*args, **kwargs))

    method.__signature__ = _signature(call)  # type: ignore[attr-defined]
    return method


def _awaited(call: Callable[P, Steps[T]]) -> Callable[Concatenate["AsyncDoppel", P], Coroutine[Any, Any, T]]:
    @functools.wraps(call)
    async def method(self: "AsyncDoppel", /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self.carry_out(call(*args, **kwargs))

    method.__signature__ = _signature(call)  # type: ignore[attr-defined]
    return method


class Doppel(_Client[httpx.Client]):
    """A client of a Doppel server, whose methods block. Threads may share it. Close it, or use ``with``."""

    _http_class = httpx.Client

    translate = _blocking(calls.pictures.translate)
    stylize = _blocking(calls.pictures.stylize)
    style_code = _blocking(calls.pictures.style_code)
    stargan_reference = _blocking(calls.pictures.stargan_reference)
    stargan_latent = _blocking(calls.pictures.stargan_latent)
    translate_folder = _blocking(calls.folders.translate_folder)
    order = _blocking(calls.jobs.order)
    job = _blocking(calls.jobs.job)
    jobs = _blocking(calls.jobs.jobs)
    wait = _blocking(calls.jobs.wait)
    picture = _blocking(calls.jobs.picture)
    cancel = _blocking(calls.jobs.cancel)
    models = _blocking(calls.models.models)
    fetch_model = _blocking(calls.models.fetch_model)
    add_model = _blocking(calls.models.add_model)
    upload_dataset = _blocking(calls.training.upload_dataset)
    datasets = _blocking(calls.training.datasets)
    forecast = _blocking(calls.training.forecast)
    train = _blocking(calls.training.train)
    run = _blocking(calls.training.run)
    runs = _blocking(calls.training.runs)
    follow = _blocking(calls.training.follow)
    stop = _blocking(calls.training.stop)
    resume = _blocking(calls.training.resume)
    publish = _blocking(calls.training.publish)
    sample = _blocking(calls.training.sample)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> "Doppel":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def carry_out(self, steps: Steps[T]) -> T:
        """Carry the steps of a call out, and return what it gives."""
        given: Any = None
        error: Exception | None = None
        while True:
            try:
                step = steps.throw(error) if error is not None else steps.send(given)
            except StopIteration as end:
                return cast(T, end.value)
            given = error = None
            try:
                given = self._do(step)
            except Exception as raised:
                error = raised

    def _do(self, step: Step) -> Any:
        match step:
            case Send():
                return self.carry_out(attempts(step, self._tries))
            case Attempt(send):
                with ExitStack() as opened:
                    return self._http.send(send.request(self._http, opened))
            case Pause(seconds):
                time.sleep(seconds)
            case Together(calls, at_once):
                with ThreadPoolExecutor(at_once) as threads:
                    return list(threads.map(self.carry_out, calls))
            case Watch():
                self._watch(step)
        return None

    def _watch(self, watch: Watch) -> None:
        reader = EventReader()
        try:
            with self._http.stream("GET", watch.path.lstrip("/"), **_of_stream(watch)) as response:
                if not response.is_success:
                    response.read()
                    raise ApiError.of_answer(response)
                for line in response.iter_lines():
                    if event := reader.read(line):
                        watch.on_event(event)
        except httpx.TransportError as error:
            raise ApiError.of_loss(error) from error


class AsyncDoppel(_Client[httpx.AsyncClient]):
    """A client of a Doppel server, whose methods are awaited. Close it by ``aclose``, or use ``async with``.

    Functions that it is given, ``on_progress`` and the like, are plain ones. Files are read in the event loop.
    """

    _http_class = httpx.AsyncClient

    translate = _awaited(calls.pictures.translate)
    stylize = _awaited(calls.pictures.stylize)
    style_code = _awaited(calls.pictures.style_code)
    stargan_reference = _awaited(calls.pictures.stargan_reference)
    stargan_latent = _awaited(calls.pictures.stargan_latent)
    translate_folder = _awaited(calls.folders.translate_folder)
    order = _awaited(calls.jobs.order)
    job = _awaited(calls.jobs.job)
    jobs = _awaited(calls.jobs.jobs)
    wait = _awaited(calls.jobs.wait)
    picture = _awaited(calls.jobs.picture)
    cancel = _awaited(calls.jobs.cancel)
    models = _awaited(calls.models.models)
    fetch_model = _awaited(calls.models.fetch_model)
    add_model = _awaited(calls.models.add_model)
    upload_dataset = _awaited(calls.training.upload_dataset)
    datasets = _awaited(calls.training.datasets)
    forecast = _awaited(calls.training.forecast)
    train = _awaited(calls.training.train)
    run = _awaited(calls.training.run)
    runs = _awaited(calls.training.runs)
    follow = _awaited(calls.training.follow)
    stop = _awaited(calls.training.stop)
    resume = _awaited(calls.training.resume)
    publish = _awaited(calls.training.publish)
    sample = _awaited(calls.training.sample)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> "AsyncDoppel":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def carry_out(self, steps: Steps[T]) -> T:
        """Carry the steps of a call out, and return what it gives."""
        given: Any = None
        error: Exception | None = None
        while True:
            try:
                step = steps.throw(error) if error is not None else steps.send(given)
            except StopIteration as end:
                return cast(T, end.value)
            given = error = None
            try:
                given = await self._do(step)
            except Exception as raised:
                error = raised

    async def _do(self, step: Step) -> Any:
        match step:
            case Send():
                return await self.carry_out(attempts(step, self._tries))
            case Attempt(send):
                with ExitStack() as opened:
                    return await self._http.send(send.request(self._http, opened))
            case Pause(seconds):
                await asyncio.sleep(seconds)
            case Together(calls, at_once):
                turns = asyncio.Semaphore(at_once)
                return await asyncio.gather(*(self._in_turn(call, turns) for call in calls))
            case Watch():
                await self._watch(step)
        return None

    async def _in_turn(self, call: Steps[Any], turns: asyncio.Semaphore) -> Any:
        async with turns:
            return await self.carry_out(call)

    async def _watch(self, watch: Watch) -> None:
        reader = EventReader()
        try:
            async with self._http.stream("GET", watch.path.lstrip("/"), **_of_stream(watch)) as response:
                if not response.is_success:
                    await response.aread()
                    raise ApiError.of_answer(response)
                async for line in response.aiter_lines():
                    if event := reader.read(line):
                        watch.on_event(event)
        except httpx.TransportError as error:
            raise ApiError.of_loss(error) from error


def _of_stream(watch: Watch) -> dict[str, Any]:
    headers = {"Last-Event-ID": watch.last_id} if watch.last_id else {}
    return {"headers": headers, "timeout": httpx.Timeout(MORE_S, connect=CONNECT_S)}
