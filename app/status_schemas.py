"""JSON bodies of the HTTP interface: what the server is doing."""

from typing import Annotated

from pydantic import BaseModel, Field

from worker.overview import Load


class WorkerStatus(BaseModel):
    """A process that translates pictures."""

    name: str
    host: str
    device: str
    loaded: Annotated[list[str], Field(description="models in memory, the most recently used last")]
    memory_mb: Annotated[int | None, Field(description="resident memory in MiB; null where it can't be read")]
    gpu_memory_mb: Annotated[int | None, Field(description="GPU memory that it has reserved, in MiB; null without one")]
    seen_s: Annotated[float, Field(description="seconds since its last heartbeat")]


class TrainerStatus(BaseModel):
    """A process that trains."""

    name: str
    host: str
    cores: int
    memory_mb: Annotated[int, Field(description="of the machine, in MiB")]
    gpu_memory_mb: Annotated[list[int], Field(description="of each GPU, in MiB; empty without one")]
    seen_s: Annotated[float, Field(description="seconds since its last heartbeat")]


class PreparerStatus(BaseModel):
    """A process that takes in uploads, fetches weights, or sizes training runs."""

    name: str
    host: str
    queue: Annotated[str, Field(description="the queue that it takes jobs from")]
    torch: Annotated[bool, Field(description="whether torch is installed there, which some uploads need")]
    seen_s: Annotated[float, Field(description="seconds since its last heartbeat")]


class Machine(BaseModel):
    """The machine of the API process that answers."""

    host: str
    cores: int
    load: Annotated[float, Field(description="processes that want to run, averaged over a minute")]
    memory_mb: Annotated[int | None, Field(description="in MiB; null where it can't be read")]
    memory_free_mb: Annotated[int | None, Field(description="in MiB; null where it can't be read")]


class Disk(BaseModel):
    """The disk of the data folder."""

    free_mb: int
    total_mb: int


class ServerStatus(BaseModel):
    """What the server is doing."""

    version: str
    ready: Annotated[bool, Field(description="whether a picture can be translated now")]
    workers: list[WorkerStatus]
    trainers: list[TrainerStatus]
    preparers: list[PreparerStatus]
    queues: Load
    queue_limit: Annotated[int, Field(description="most pictures that may wait")]
    runs_running: Annotated[list[str], Field(description="ids of the training runs that run")]
    runs_queued: Annotated[list[str], Field(description="ids of the training runs that wait")]
    machine: Machine
    disk: Disk
    offline: Annotated[bool, Field(description="whether the server never downloads anything")]
    max_upload_mb: Annotated[int, Field(description="largest picture that is accepted, in MiB")]
