"""POST and GET /datasets, one of them, its preview; DELETE."""

from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, File, Form, Query, Request, Response, UploadFile
from starlette.concurrency import run_in_threadpool

from app.addresses import address
from app.callers import caller_of
from app.deps import CallerDep, Services, ServicesDep
from app.own_datasets import own_dataset
from app.routes import answers, fields
from app.training_schemas import DatasetDetails
from app.upload_jobs import take_in
from models.errors import DatasetError, DatasetExists, Invalid, UnknownDataset
from models.store.datasets import DatasetInfo, valid_name

MAX_LISTED = 200  # on a page

router = APIRouter(prefix="/datasets", tags=["datasets"])


def _dataset(services: ServicesDep, caller: CallerDep, name: str) -> DatasetInfo:
    return own_dataset(services.datasets, name, caller)


DatasetDep = Annotated[DatasetInfo, Depends(_dataset)]


@router.post(
    "",
    status_code=201,
    summary="Upload a data set",
    response_model=DatasetDetails,
    responses={
        201: {"description": "The data set, ready.", "model": DatasetDetails},
        202: answers.job("Not ready within `wait`: the job. `Location` is where to look."),
        **answers.problems(409, 413, 422, 503),
    },
)
async def upload_dataset(
    request: Request,
    response: Response,
    services: ServicesDep,
    archive: Annotated[
        UploadFile,
        File(
            description="a zip with `trainA/` and `trainB/` (and `testA/`, `testB/`), or with `train/<domain>/` for "
            "two domains or more (and `val/<domain>/`); at its top or deeper"
        ),
    ],
    name: Annotated[str, Form(description="letters, digits, `.`, `_` and `-`; at most 64")],
    wait: fields.Wait = 60,
    webhook: fields.Webhook = "",
) -> Response | DatasetDetails:
    """Every picture is decoded once, checked and counted; bad ones are left out and listed, duplicates are reported."""
    if not valid_name(name):
        raise Invalid("name: a data set is named by up to 64 letters, digits, '.', '_' and '-'.")
    await run_in_threadpool(_check_free, services, name)
    ended = await take_in(
        request,
        services,
        lambda job_id, hook: services.uploads.accept(job_id, name, archive.file, caller_of(request), hook=hook),
        wait,
        webhook,
    )
    if isinstance(ended, Response):
        return ended
    response.headers["Location"] = address(f"/datasets/{name}")
    return DatasetDetails.of(await run_in_threadpool(services.datasets.get, name), [])


def _check_free(services: Services, name: str) -> None:
    try:
        services.datasets.get(name)
    except UnknownDataset:
        return
    except DatasetError:  # an operator's folder, of which others learn nothing but that it is there
        pass
    raise DatasetExists(name)


@router.get("", summary="List the data sets", responses={200: answers.page("The data sets."), **answers.problems(422)})
def list_datasets(
    services: ServicesDep,
    caller: CallerDep,
    response: Response,
    limit: Annotated[
        int | None, Query(ge=1, le=MAX_LISTED, description="data sets on a page; without it all are listed")
    ] = None,
    after: Annotated[str, Query(max_length=64, description="only data sets whose names come after this one")] = "",
) -> list[DatasetDetails]:
    """Uploaded data sets, and folders in a known layout that an operator put beside them, by name.

    Where there are API keys, those that were uploaded with yours; with the scope `admin` all. With a `limit`, `Link`
    leads to the next page.
    """
    found, last = services.datasets.page(after=after, limit=limit, wanted=lambda info: caller.sees(info.owner))
    if last is not None:
        query = urlencode({"limit": limit, "after": last})
        response.headers["Link"] = f'<{address("/datasets")}?{query}>; rel="next"'
    runs = services.runs.unfinished()
    return [DatasetDetails.of(info, services.runs.seen(runs.get(info.name, []), caller)) for info in found]


@router.get("/{name}", summary="Read a data set", responses=answers.problems(404, 422))
def read_dataset(services: ServicesDep, caller: CallerDep, dataset: DatasetDep) -> DatasetDetails:
    """Its domains and how many pictures each has; what was left out of the upload, and why; which are the same."""
    return DatasetDetails.of(dataset, services.runs.seen(services.runs.using(dataset.name), caller))


@router.get(
    "/{name}/preview",
    summary="Preview a data set",
    response_class=Response,
    responses={
        200: answers.file("A contact sheet with a row of pictures for each domain.", "image/jpeg"),
        **answers.problems(404, 422),
    },
)
async def preview_dataset(services: ServicesDep, dataset: DatasetDep) -> Response:
    """A picture with a row of samples for each domain."""
    preview = await services.encoders.run(services.datasets.preview, dataset.name)
    return Response(preview, media_type="image/jpeg")


@router.delete("/{name}", status_code=204, summary="Remove a data set", responses=answers.problems(404, 409, 422))
def remove_dataset(services: ServicesDep, dataset: DatasetDep) -> None:
    """Not while a run trains on it, or waits to."""
    services.datasets.remove(dataset.name, users=lambda: services.runs.using(dataset.name))
