"""GET and POST /models, GET /models/{name}, its sample picture and archive; fetch; roll back; DELETE."""

from typing import Annotated

from fastapi import APIRouter, File, Form, Request, Response, UploadFile
from fastapi.responses import StreamingResponse
from pydantic import ValidationError
from starlette.concurrency import run_in_threadpool

from app.addresses import address
from app.callers import Caller, caller_of
from app.deps import CallerDep, Services, ServicesDep, client_of, list_name
from app.errors import Forbidden, sentence
from app.kept_files import kept_file
from app.keyed_requests import RequestIdDep
from app.routes import answers, fields
from app.schemas import FetchRequest, Job, ModelInfo
from app.training_schemas import Published
from app.upload_jobs import take_in
from app.waiting import ALIVE_S
from models.errors import Conflict, DoppelError, Invalid, NotFound, Unavailable
from models.store.additions import Addition
from models.store.catalog import Model
from models.store.model_archives import export_chunks, is_model_archive
from worker.overview import Overview

router = APIRouter(prefix="/models", tags=["models"])
uploads = APIRouter(prefix="/models", tags=["models"])  # whose bodies may be larger

SAMPLE_TYPES = {".png": "image/png", ".jpg": "image/jpeg", ".webp": "image/webp"}
SHOWN_LABEL = 100  # characters of an uploaded file's name


@router.get("", summary="List the models", responses=answers.problems(503))
def list_models(services: ServicesDep, caller: CallerDep) -> list[ModelInfo]:
    """All models: what each does, its licence, and whether its weights are on this server."""
    return _described(services, caller, services.catalog.all())


@router.get("/{name}", summary="Read a model", responses=answers.problems(404, 503))
def read_model(services: ServicesDep, caller: CallerDep, name: str) -> ModelInfo:
    """What the model does, its licence, and whether its weights are on this server."""
    return _described(services, caller, [services.catalog.get(name)])[0]


@uploads.post(
    "",
    status_code=201,
    summary="Add a model",
    response_model=ModelInfo,
    responses={
        201: {"description": "The model, in service.", "model": ModelInfo},
        202: answers.job("Not in service within `wait`: the job. `Location` is where to look."),
        **answers.problems(409, 413, 422, 503),
    },
)
async def add_model(
    request: Request,
    response: Response,
    services: ServicesDep,
    file: Annotated[
        UploadFile,
        File(
            description="weights of a CycleGAN generator or a StarGAN v2 as PyTorch or safetensors files hold them, or "
            "the archive of a model from `GET /models/{name}/archive`"
        ),
    ],
    name: Annotated[
        str, Form(description="letters, digits, `.`, `_` and `-`; at most 64", examples=["my-model"], min_length=1)
    ],
    network: Annotated[str, Form(description="which network, of a file that holds several", examples=["netG_A"])] = "",
    description: Annotated[str, Form(description="what the model does, for its card")] = "",
    licence: Annotated[str, Form(description="licence of the weights, for its card", examples=["CC BY 4.0"])] = "",
    source: Annotated[str, Form(description="where the weights are from, for its card")] = "",
    image_size: Annotated[str, Form(description="side of the pictures that it was trained on, in px; empty: 256")] = "",
    padding: Annotated[
        str,
        Form(description="CycleGAN: `reflect` or `replicate`, which the weights don't tell; empty: `reflect`"),
    ] = "",
    domains: Annotated[
        str,
        Form(description="StarGAN v2, which needs it: the domains' names, separated by commas, in their order"),
    ] = "",
    w_hpf: Annotated[
        str, Form(description="StarGAN v2 with a high-pass path: what divides its strength; empty: 1")
    ] = "",
    wait: fields.Wait = 60,
    webhook: fields.Webhook = "",
) -> Response | ModelInfo:
    """Put anyone's weights into service, at once on every worker.

    The file is read without running any code in it, checked key by key, and tried on a picture. A new model is at
    version 1; its name must be free.
    """
    texts = {
        **{"name": name, "network": network, "description": description, "licence": licence, "source": source},
        **{"image_size": image_size, "padding": padding, "w_hpf": w_hpf},
    }
    given: dict[str, object] = {field: text for field, text in texts.items() if text}
    if domains:
        given["domains"] = [domain.strip() for domain in domains.split(",")]
    try:
        addition = Addition.model_validate(given)
    except ValidationError as error:
        raise Invalid(sentence(error.errors())) from error
    await run_in_threadpool(services.versions.require_free, name, new=True)
    label = (file.filename or "the file")[-SHOWN_LABEL:]
    torch = not await run_in_threadpool(is_model_archive, file.file)
    await file.seek(0)
    ended = await take_in(
        request,
        services,
        lambda job_id, hook: services.uploads.accept_model(
            job_id, label, addition, file.file, caller_of(request), torch=torch, hook=hook
        ),
        wait,
        webhook,
        torch_for="Adding a weights file" if torch else None,
    )
    if isinstance(ended, Response):
        return ended
    response.headers["Location"] = address(f"/models/{name}")
    return await run_in_threadpool(read_model, services, caller_of(request), name)


@router.get(
    "/{name}/archive",
    summary="Export a model",
    response_class=Response,
    responses={
        200: answers.file("The model's card, weights and sample picture.", "application/zip"),
        **answers.problems(404, 503),
    },
)
def export_model(services: ServicesDep, name: str) -> Response:
    """The model as one zip file, which `POST /models` and `doppel add` take on another machine."""
    model = services.catalog.get(name)
    headers = {"Content-Disposition": f'attachment; filename="{model.name}.zip"'}
    return StreamingResponse(export_chunks(model), headers=headers, media_type="application/zip")


@router.get(
    "/{name}/sample",
    summary="Get a model's sample picture",
    response_class=Response,
    responses={
        200: answers.file("The picture.", "image/png", "image/jpeg", "image/webp"),
        **answers.problems(404, 503),
    },
)
def read_model_sample(request: Request, services: ServicesDep, name: str) -> Response:
    """What the model makes: of a model that ships an example; of a published one the last sample picture of its run."""
    sample = services.catalog.get(name).sample
    if sample is None:
        raise NotFound(f"The model {name!r} has no sample picture.")
    return kept_file(request, sample, SAMPLE_TYPES[sample.suffix])


@router.post(
    "/{name}/fetch", status_code=202, summary="Fetch a model's weights", responses=answers.problems(404, 409, 503)
)
def fetch_model(
    request: Request,
    services: ServicesDep,
    name: str,
    response: Response,
    wanted: FetchRequest | None = None,
) -> Job:
    """Download the weights from the model's authors, as a job with progress that can be canceled.

    Without this call, a model is fetched when it is first asked for. While a fetch is under way, whoever began it, the
    answer is its job. `Location` is the job's address.
    """
    model = services.catalog.get(name)
    if model.weights is not None:
        raise Conflict(f"The weights of {name!r} are on this server already.")
    lists = client_of(request), list_name(caller_of(request), None)
    webhook = wanted.webhook if wanted is not None else None
    services.webhooks.check(webhook)
    services.webhooks.require_room(webhook)
    owner = caller_of(request).name
    job_id = services.selection.fetch(name, lambda job_id: services.webhooks.hook(webhook, "job", job_id, owner=owner))
    for listed in filter(None, lists):
        Overview(services.queue.connection).remember(listed, job_id)
    state = services.queue.state(job_id)
    if state is None:
        raise Unavailable("The queue lost this job. Try again.")
    job = Job.of(state)
    response.headers["Location"] = job.links.self
    return job


@router.post("/{name}/rollback", summary="Roll a model back", responses=answers.problems(404, 409))
def roll_back_model(services: ServicesDep, caller: CallerDep, name: str, request_id: RequestIdDep) -> Published:
    """Put the previous version of a published model back into service, at once on every worker, and name it."""
    _require_own(services, caller, name)
    return Published(name=name, version=services.versions.roll_back(name, request_id))


@router.delete("/{name}", status_code=204, summary="Remove a published model", responses=answers.problems(404, 409))
def remove_model(services: ServicesDep, caller: CallerDep, name: str) -> None:
    """Take the model out of service, at once on every worker, and delete all its versions. Its training run is kept."""
    _require_own(services, caller, name)
    if runs := services.runs.begun_from(name):
        named = ", ".join(services.runs.seen(runs, caller)) or "of others"
        raise Conflict(f"The runs {named} start from the model {name!r}; they must end first.")
    services.versions.remove(name)


def _require_own(services: Services, caller: Caller, name: str) -> None:
    """Everybody sees a model, so another's is refused and not hidden.

    Raises:
        Forbidden: the model is another's.
    """
    published = services.versions.current(services.catalog.get(name).name) is not None
    if published and not caller.sees(services.versions.owner(name)):
        raise Forbidden(f"The model {name!r} was put into service with another API key.")


def _described(services: Services, caller: Caller, models: list[Model]) -> list[ModelInfo]:
    workers = services.queue.workers(seen_within_s=ALIVE_S)
    fetches = services.preparation.fetches() if any(model.weights is None for model in models) else {}
    return [
        ModelInfo.of(
            model,
            runs_as=_runs_as(services, model),
            loaded_on=[worker.name for worker in workers if model.weights_name in worker.loaded],
            fetch_job=fetches.get(model.name),
            is_own=caller.is_admin or caller.sees(services.versions.owner(model.name)),
        )
        for model in models
    ]


def _runs_as(services: Services, model: Model) -> str | None:
    try:
        return services.catalog.resolve(model.name).name
    except DoppelError:
        return None
