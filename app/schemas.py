"""The shapes that cross HTTP as JSON."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from models.store.catalog import Model
from worker.contract import Failure, JobState, Status, Timings


def _absent(value: object) -> bool:
    return not value


class ProblemDetails(BaseModel):
    """An error, after RFC 9457."""

    type: str = "about:blank"
    title: str
    status: int
    detail: Annotated[str, Field(description="what was wrong, and what is accepted")]


class JobLinks(BaseModel):
    self: str
    image: Annotated[str | None, Field(description="where its picture is; null for a job that makes none")]
    events: str
    dataset: Annotated[str | None, Field(description="of a job that makes a data set", exclude_if=_absent)] = None


class Job(BaseModel):
    """A piece of work, from its acceptance to some hours after its end."""

    id: str
    kind: str
    model: Annotated[str, Field(description="the model that runs, which may be the fallback of the one asked for")]
    status: Status
    position: Annotated[int | None, Field(description="jobs ahead of it while it is queued")]
    progress: Annotated[float, Field(ge=0, le=1)]
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    timings: Annotated[Timings, Field(description="milliseconds spent in each stage")]
    error: Failure | None
    links: JobLinks
    style: Annotated[
        list[float] | None, Field(description="only of a job of kind `style`: the style code", exclude_if=_absent)
    ] = None
    notes: Annotated[
        list[str], Field(description="only if there are any: what was done with the pictures", exclude_if=_absent)
    ] = []
    dataset: Annotated[
        str | None, Field(description="only of a job of kind `dataset`: its name", exclude_if=_absent)
    ] = None

    @classmethod
    def of(cls, state: JobState) -> "Job":
        base = f"/jobs/{state.id}"
        links = JobLinks(
            self=base,
            image=None if state.kind == "dataset" else f"{base}/image",
            events=f"{base}/events",
            dataset=f"/datasets/{state.dataset}" if state.dataset else None,
        )
        return cls(
            **state.model_dump(exclude={"timings", "error", "layout"}),
            timings=state.timings,
            error=state.error,
            links=links,
        )


class ModelInfo(BaseModel):
    """A model of the catalog, and how it stands now."""

    name: str
    family: str
    description: str
    licence: str
    source: str
    image_size: Annotated[int, Field(description="px, side of the pictures it was trained on")]
    domains: Annotated[list[str], Field(description="of StarGAN: what a picture can be made")]
    network: Annotated[dict[str, int | float], Field(description="the network's constructor arguments")]
    availability: Annotated[
        Literal["ready", "not fetched", "unavailable"], Field(description="whether its weights are on this server")
    ]
    why: Annotated[str | None, Field(description="why the weights could not be fetched")]
    runs_as: Annotated[str | None, Field(description="the model that answers when this one is asked for; null: none")]
    version: Annotated[int | None, Field(description="of a model that was published here")]
    training: Annotated[dict[str, Any] | None, Field(description="how it was trained, where that is known")]
    loaded_on: Annotated[list[str], Field(description="workers that hold it in memory")]

    @classmethod
    def of(cls, model: Model, *, runs_as: str | None, loaded_on: list[str]) -> "ModelInfo":
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
            runs_as=runs_as,
            loaded_on=loaded_on,
        )


class StyleCode(BaseModel):
    """A picture's style, as numbers."""

    style: Annotated[list[float], Field(description="the style code")]
    domain: Annotated[str, Field(description="the domain that the picture was read as one of")]
    model: Annotated[str, Field(description="the model whose style code it is; others do not understand it")]


class Health(BaseModel):
    status: Literal["ok"] = "ok"
