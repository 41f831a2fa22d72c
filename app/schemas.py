"""JSON bodies of the HTTP interface: jobs, models, errors."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from app.addresses import address
from app.webhook_targets import FIELD
from models.store.catalog import Model
from worker.contract import Failure, JobState, Status, Timings


def _absent(value: object) -> bool:
    return not value


class ProblemDetails(BaseModel):
    """An error (RFC 9457)."""

    type: str = "about:blank"
    title: str
    status: int
    detail: Annotated[str, Field(description="what was wrong and what is accepted")]
    code: Annotated[
        str | None,
        Field(
            description="for programs, only where there is something they can do: `no_face`: send `align=none`",
            exclude_if=_absent,
        ),
    ] = None


class JobLinks(BaseModel):
    """Addresses that belong to a job."""

    self: str
    image: Annotated[str | None, Field(description="the job's picture; null if the job makes none")]
    events: str
    dataset: Annotated[str | None, Field(description="the data set, only if the job makes one", exclude_if=_absent)] = (
        None
    )
    model: Annotated[
        str | None, Field(description="the model, only if the job adds or fetches one", exclude_if=_absent)
    ] = None


class Job(BaseModel):
    """A piece of work and its state. It can be read until some hours after it has ended."""

    id: str
    kind: str
    model: Annotated[
        str,
        Field(description="the model that runs, which may be the fallback of the requested one, or that is added"),
    ]
    status: Status
    position: Annotated[int | None, Field(description="number of jobs ahead of it while it is queued")]
    progress: Annotated[float, Field(ge=0, le=1)]
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    timings: Annotated[Timings, Field(description="milliseconds spent in each stage")]
    error: Failure | None
    links: JobLinks
    style: Annotated[
        list[float] | None, Field(description="only in a job of kind `style`: the style code", exclude_if=_absent)
    ] = None
    notes: Annotated[
        list[str],
        Field(description="remarks on how the pictures were processed, only if there are any", exclude_if=_absent),
    ] = []
    seeds: Annotated[
        list[int],
        Field(
            description="seeds of the latent codes, sent or drawn, only if there are any; sent again, they give the "
            "same styles",
            exclude_if=_absent,
        ),
    ] = []
    dataset: Annotated[
        str | None, Field(description="only in a job of kind `dataset`: name of the data set", exclude_if=_absent)
    ] = None
    owner: Annotated[
        str | None, Field(description="name of the API key that ordered it, only if one did", exclude_if=_absent)
    ] = None

    @classmethod
    def of(cls, state: JobState) -> "Job":
        base = address(f"/jobs/{state.id}")
        links = JobLinks(
            self=base,
            image=None if state.kind in ("dataset", "model", "fetch") else f"{base}/image",
            events=f"{base}/events",
            dataset=address(f"/datasets/{state.dataset}") if state.dataset else None,
            model=address(f"/models/{state.model}") if state.kind in ("model", "fetch") else None,
        )
        return cls(
            **state.model_dump(exclude={"timings", "error", "arrangement", "delivery"}),
            timings=state.timings,
            error=state.error,
            links=links,
        )


class FetchRequest(BaseModel):
    """How to fetch a model's weights."""

    model_config = ConfigDict(extra="forbid")

    webhook: Annotated[str | None, Field(description=FIELD.format(what="job", call="/jobs/{id}"))] = None


class ModelInfo(BaseModel):
    """A model of the catalog and its present state."""

    name: str
    family: str
    description: str
    licence: str
    source: str
    image_size: Annotated[int, Field(description="side of the pictures that it was trained on, in pixels")]
    domains: Annotated[list[str], Field(description="StarGAN only: the domains that it translates to")]
    network: Annotated[dict[str, bool | int | float | str], Field(description="constructor arguments of the network")]
    availability: Annotated[
        Literal["ready", "not fetched", "unavailable"], Field(description="whether its weights are on this server")
    ]
    why: Annotated[str | None, Field(description="why the weights could not be downloaded")]
    fetch_job: Annotated[str | None, Field(description="id of the job that fetches its weights now; null: none does")]
    runs_as: Annotated[str | None, Field(description="the model that runs if this one is requested; null: none can")]
    version: Annotated[int | None, Field(description="version in service, if the model was published on this server")]
    training: Annotated[dict[str, Any] | None, Field(description="how it was trained, if that is known")]
    loaded_on: Annotated[list[str], Field(description="workers that have it loaded")]
    weights_bytes: Annotated[int | None, Field(description="size of its weights; null: they are not on this server")]
    can_be_removed: Annotated[
        bool, Field(description="whether it was published or added on this server, and is the caller's")
    ]
    sample: Annotated[str | None, Field(description="address of a picture of what it makes; null: none")]

    @classmethod
    def of(
        cls, model: Model, *, runs_as: str | None, loaded_on: list[str], fetch_job: str | None, is_own: bool
    ) -> "ModelInfo":
        shared = model.card.model_dump(
            include={
                *("name", "family", "description", "licence", "source", "image_size", "network", "domains"),
                *("version", "training"),
            }
        )
        return cls(
            **shared,
            availability=model.availability,
            why=model.failure,
            fetch_job=fetch_job,
            runs_as=runs_as,
            loaded_on=loaded_on,
            weights_bytes=None if model.weights is None else model.weights.stat().st_size,
            can_be_removed=model.card.version is not None and is_own,
            sample=None if model.sample is None else address(f"/models/{model.name}/sample"),
        )


class StyleCode(BaseModel):
    """The style of a picture as a list of numbers."""

    style: Annotated[list[float], Field(description="the style code")]
    domain: Annotated[str, Field(description="the domain that the picture was assumed to belong to")]
    model: Annotated[str, Field(description="the model that the style code is for; no other model can use it")]


class PaintingCode(BaseModel):
    """How a picture is painted, as a list of numbers."""

    code: Annotated[list[float], Field(description="the style code")]
    model: Annotated[str, Field(description="the model that the style code is for; no other model can use it")]


class EarlierCredentials(BaseModel):
    """Credentials that the original brought along."""

    generator: Annotated[str | None, Field(description="the program that wrote them")]
    signer: Annotated[str | None, Field(description="the organization in the certificate")]


class Verification(BaseModel):
    """What the Content Credentials and marks of a file show."""

    state: Annotated[
        Literal["trusted", "valid", "invalid", "none"],
        Field(
            description="`trusted`: they fit the file, and this service or an authority that it trusts vouches for the "
            "signer; `valid`: they fit, but nobody vouches for the signer; `invalid`: they don't fit; `none`: there "
            "are none"
        ),
    ]
    ours: Annotated[bool, Field(description="this service signed it; it may have been altered since")]
    altered: Annotated[bool | None, Field(description="null: without credentials, nobody can tell")]
    marked: Annotated[bool, Field(description="it carries the IPTC mark of generated media, which anybody can write")]
    model: Annotated[str | None, Field(description="the model that made it, as the signer says")]
    version: Annotated[
        str | None, Field(description="the model's version, or the beginning of the hash of its weights")
    ]
    made_at: Annotated[str | None, Field(description="when it was made (RFC 3339), as the signer says")]
    source_type: Annotated[
        str | None,
        Field(
            description="IPTC term of its kind of source",
            examples=["compositeWithTrainedAlgorithmicMedia", "trainedAlgorithmicMedia"],
        ),
    ]
    generator: Annotated[str | None, Field(description="the program that signed it, and its version")]
    signer: Annotated[str | None, Field(description="the organization in the certificate")]
    stamped_at: Annotated[str | None, Field(description="when it was signed, as a time-stamp authority says")]
    inputs: Annotated[list[str], Field(description="hashes of what it was made of (RFC 6920)")]
    history: Annotated[list[EarlierCredentials], Field(description="credentials of the original, latest first")]
    failures: Annotated[list[str], Field(description="what does not fit, by C2PA's codes")]


class Health(BaseModel):
    """The service is healthy."""

    status: Literal["ok"] = "ok"
