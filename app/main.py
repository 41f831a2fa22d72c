"""Assembly of the web application."""

import functools
import threading
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from fastapi import APIRouter, Depends, FastAPI
from fastapi.routing import APIRoute
from fastapi_offline import FastAPIOffline
from starlette.concurrency import run_in_threadpool

from app.access import install_key_check
from app.addresses import RootPath
from app.byte_ranges import ByteRanges
from app.comparisons import Comparisons
from app.credentials import Credentials
from app.deps import Services
from app.errors import install_handlers
from app.guards import install_guards
from app.idempotency import admit, install_idempotency
from app.keys import KeyRing
from app.meter_flush import flushing
from app.middleware import DeclaredLengthLimit, DisconnectFilter, HeadAsGet, SafeHeaders
from app.model_selection import ModelSelection
from app.openapi import TITLE, VERSION, DocumentFiles, document, operation_id
from app.recent import Recent
from app.rendering import RecentVideos
from app.request_log import RequestLog, RouteNote, telemetry
from app.routes import (
    comparisons,
    docs,
    health,
    jobs,
    metrics,
    models,
    run_starts,
    stargan,
    status,
    studio,
    style,
    style_video,
    training,
    translate,
    verify,
)
from app.routes import datasets as datasets_routes
from app.settings import Settings
from app.training_runs import Runs
from app.turns import Turns
from app.uploads import Uploads
from app.waiting import Dispatcher
from app.webhook_sender import Sending, WebhookSender
from app.webhook_signing import Secrets
from app.webhooks import Webhooks
from models.cores import usable_cores
from models.errors import PlaceError
from models.store import files
from models.store.catalog import Catalog
from models.store.datasets import DatasetStore
from models.store.versions import Versions
from worker.async_inference_queue import AsyncInferenceQueue
from worker.connection import connect
from worker.embedded_redis import socket_url
from worker.inference_queue import InferenceQueue
from worker.janitor import Janitor
from worker.job_records import RECORD_TTL_S
from worker.meters import Meter
from worker.preparation_queue import PreparationQueue
from worker.rates import Rates
from worker.shared_connection import SharedConnection
from worker.tracing import tracer_of
from worker.training_queue import TrainingQueue
from worker.webhooks import Hooks

STARTS_AT_ONCE = 4  # requests for training runs that are checked, estimated and queued
STATUS_TTL_S = 1.0  # of the answer to GET /status, which every open page asks for
UPLOADS_WAITING = 100  # that wait to be decoded, in one process
MAX_JSON_BYTES = 64 << 10  # of a body that is no file; reading it keeps all other requests waiting
PATIENCE_S = 5  # how long a request waits for a lost Redis before it is answered 503


def create_app(settings: Settings | None = None) -> FastAPI:
    """Build the application.

    Args:
        settings: None reads them from the environment, for servers that call this function as an application factory.

    Raises:
        PlaceError: the API keys can't be used, or the prefix.
    """
    settings = settings or Settings()
    redis_url = settings.redis_url or socket_url(settings.data_dir)
    queue = InferenceQueue(connect(redis_url, patience_s=PATIENCE_S))
    shared = SharedConnection(redis_url, patience_s=PATIENCE_S)
    async_queue = AsyncInferenceQueue(
        shared,
        queue.connection,
        limit=settings.queue_limit,
        record_ttl_s=max(RECORD_TTL_S, settings.result_ttl_s),
    )
    catalog = Catalog(settings.weights_dir, settings.data_dir)
    datasets = DatasetStore(settings.data_dir)
    preparation = PreparationQueue(queue.connection)
    runs = Runs(
        settings,
        catalog,
        datasets,
        TrainingQueue(queue.connection),
        preparation,
        Webhooks(settings, Hooks(queue.connection)),
    )
    cores = max(1, usable_cores() // settings.api_process_count)
    services = Services(
        settings=settings,
        catalog=catalog,
        selection=ModelSelection(catalog, preparation, offline=settings.offline),
        queue=queue,
        jobs=async_queue,
        dispatcher=Dispatcher(queue, async_queue, redis_url),
        datasets=datasets,
        uploads=Uploads(settings, preparation),
        preparation=preparation,
        runs=runs,
        comparisons=Comparisons(settings.data_dir, runs),
        versions=Versions(catalog, settings.data_dir),
        ring=KeyRing.of(settings),
        ending=threading.Event(),
        recent_videos=RecentVideos(),
        status=Recent(STATUS_TTL_S),
        credentials=Credentials(settings),
        webhooks=runs.webhooks,
        meter=Meter(),
        tracer=tracer_of("doppel-api"),
        codecs=Turns(cores, most_waiting=UPLOADS_WAITING),
        encoders=Turns(cores),
        starts=Turns(STARTS_AT_ONCE, most_waiting=UPLOADS_WAITING),
    )

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        files.sweep(datasets.root)
        services.versions.sweep()
        services.runs.store.sweep()
        services.comparisons.sweep()
        stop = threading.Event()
        janitor = Janitor(connect(redis_url, patience_s=0))
        sweeper = threading.Thread(target=janitor.run, args=(stop,), daemon=True, name="janitor")
        sweeper.start()
        threading.Thread(target=services.credentials.prepare, daemon=True, name="credentials").start()
        try:
            async with services.dispatcher, flushing(services.meter, shared), _sending(services, redis_url):
                yield
            await async_queue.aclose()
        finally:
            stop.set()
            sweeper.join(timeout=5)
            services.tracer.close()

    app = FastAPIOffline(  # serves the files of Swagger UI
        docs_url=None,
        redoc_url=None,
        title=TITLE,
        version=VERSION,
        lifespan=lifespan,
        telemetry=telemetry(services.tracer),
    )
    app.state.services = services
    calls = _calls_of(settings)
    _install_middlewares(app, services, shared, calls.max_bytes_under(settings.root_path))
    app.router.routes[:0] = calls.router.routes  # before FastAPI's own route to its document
    app.state.document_files = calls.document_files
    app.openapi = lambda: calls.document  # type: ignore[method-assign]  # FastAPI's documented way to replace it
    if settings.root_path:
        _require_distinct(settings.root_path, app)
    return app


def _install_middlewares(
    app: FastAPI, services: Services, shared: SharedConnection, body_limits: Mapping[str, int]
) -> None:
    """Wrap the routes, from the inside out."""
    settings = services.settings
    install_handlers(app)
    app.add_middleware(RouteNote)
    install_idempotency(app, shared)
    install_key_check(app, services.ring, Rates(shared))
    app.add_middleware(RootPath, root_path=settings.root_path)
    app.add_middleware(DisconnectFilter)
    app.add_middleware(ByteRanges)
    app.add_middleware(HeadAsGet)
    app.add_middleware(DeclaredLengthLimit, max_bytes=MAX_JSON_BYTES, of_paths=body_limits)
    install_guards(app, settings)
    app.add_middleware(SafeHeaders)
    app.add_middleware(RequestLog, meter=services.meter, tracer=services.tracer, lines=settings.log_format == "json")


class _Calls:
    """The calls of the API and their description, both of which take long to build, so that applications share them.

    Attributes:
        max_bytes: the most that a request's body may have, by path; of all other calls ``MAX_JSON_BYTES``.

    Args:
        picture_bytes: the most that a form with pictures may have.
        keyed: whether they need API keys.
    """

    def __init__(
        self, picture_bytes: int, archive_bytes: int, clip_bytes: int, model_bytes: int, *, keyed: bool
    ) -> None:
        self._keyed = keyed
        self.router = APIRouter(generate_unique_id_function=operation_id)
        limits = [(module.router, picture_bytes) for module in (translate, stargan, style)]
        limits += [
            (module.router, MAX_JSON_BYTES)
            for module in (jobs, models, comparisons, run_starts, training, health, status, metrics, docs, studio)
        ]
        limits += [
            (datasets_routes.router, archive_bytes),
            (style_video.router, clip_bytes),
            (verify.router, clip_bytes),
            (models.uploads, model_bytes),
        ]
        self.max_bytes = {
            route.path: limit for router, limit in limits for route in router.routes if isinstance(route, APIRoute)
        }
        for router, limit in limits:
            self.router.include_router(
                router,
                max_body_size=limit,
                dependencies=[Depends(admit)],
                # A file without a file name counts as text: read it whole, so that the answer can say so.
                form_limits={"max_part_size": picture_bytes},
            )

    def max_bytes_under(self, root_path: str) -> dict[str, int]:
        """``max_bytes`` of the paths as they are, and behind a prefix."""
        return {f"{root}{path}": limit for root in ("", root_path) for path, limit in self.max_bytes.items()}

    @functools.cached_property
    def document(self) -> dict[str, Any]:
        """The OpenAPI document."""
        return document(self.router.routes, keyed=self._keyed)

    @functools.cached_property
    def document_files(self) -> DocumentFiles:
        """The OpenAPI document as it is sent."""
        return DocumentFiles(self.document)


_calls = functools.cache(_Calls)


def _calls_of(settings: Settings) -> _Calls:
    sizes_mb = (settings.max_upload_mb, settings.max_dataset_mb, settings.max_clip_mb, settings.max_model_mb)
    return _calls(*(size_mb << 20 for size_mb in sizes_mb), keyed=settings.has_keys)


def prepare(settings: Settings) -> None:
    """Build what takes long of an application with these settings, so that forks of this process have it."""
    _ = _calls_of(settings).document_files


@asynccontextmanager
async def _sending(services: Services, redis_url: str) -> AsyncIterator[None]:
    """Deliver webhooks during the block."""
    settings = services.settings
    if not settings.webhooks:
        yield
        return
    sending = Sending(
        targets=services.webhooks.targets,
        runs=services.runs,
        meter=services.meter,
        secrets=Secrets.of_settings(settings.webhook_secret, settings.data_dir),
        root_path=settings.root_path,
    )
    sender = WebhookSender(connect(redis_url, patience_s=0), sending)
    sender.start()
    try:
        yield
    finally:
        await run_in_threadpool(sender.stop)


def _require_distinct(root_path: str, app: FastAPI) -> None:
    """Refuse a prefix with which a path could be read in two ways.

    Raises:
        PlaceError
    """
    if root_path.split("/")[1] in {studio.PREFIX, *(path.split("/")[1] for path in app.openapi()["paths"])}:
        raise PlaceError(
            f"DOPPEL_ROOT_PATH: {root_path!r} is the beginning of the API's own paths; choose another prefix"
        )
