"""Deployment settings: environment variables with the prefix DOPPEL_, read once in the entry point and passed on."""

from pathlib import Path
from typing import Annotated

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict


class Settings(BaseSettings):
    """Every field is set by the environment variable DOPPEL_<FIELD>; durations and sizes carry their unit."""

    model_config = SettingsConfigDict(env_prefix="DOPPEL_", extra="ignore")

    redis_url: Annotated[str | None, Field(description="redis://, rediss:// or unix://; unset: an embedded Redis")] = (
        None
    )
    data_dir: Annotated[Path, Field(description="fetched and published models, runs, the embedded Redis")] = Path("var")
    weights_dir: Annotated[Path, Field(description="the models that ship")] = Path("weights")
    weights_url: Annotated[str | None, Field(description="mirror to fetch upstream weights from")] = None
    offline: Annotated[bool, Field(description="never fetch anything")] = False

    host: Annotated[str, Field(description="address to listen on")] = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8000
    max_upload_mb: Annotated[int, Field(ge=1, description="largest request body, in MiB")] = 20
    max_pixels: Annotated[int, Field(ge=1, description="most pixels of an uploaded picture")] = 50_000_000
    max_output_pixels: Annotated[int, Field(ge=1, description="most pixels of a picture given to a model")] = 4_194_304
    queue_limit: Annotated[int, Field(ge=1, description="most jobs waiting")] = 1000
    result_ttl_s: Annotated[int, Field(ge=1, description="how long a result is kept that nobody waited for")] = 3600

    max_dataset_mb: Annotated[int, Field(ge=1, description="largest archive of a data set, in MiB")] = 2048
    trainers: Annotated[int, Field(ge=0, description="trainer processes that `doppel serve` starts")] = 1
    training_reserved_mb: Annotated[
        int, Field(ge=0, description="GPU memory that a training leaves to the workers, in MiB")
    ] = 4096

    training_threads: Annotated[
        int | None, Field(ge=1, description="CPU threads of a training; unset: one core is left to the workers")
    ] = None

    workers: Annotated[int, Field(ge=0, description="worker processes that `doppel serve` starts")] = 1
    device: Annotated[str, Field(description="auto, cpu, cuda, cuda:1, mps")] = "auto"
    max_batch: Annotated[int | None, Field(ge=1, description="most pictures in a batch; unset: 16, on a CPU 1")] = None
    batch_wait_ms: Annotated[float, Field(ge=0, description="wait for more mates, once there are some")] = 5.0
    resident_mb: Annotated[int, Field(ge=1, description="weights that a worker keeps in memory, in MiB")] = 2048
    preload: Annotated[list[str], NoDecode, Field(description="models loaded at start, comma-separated")] = [
        "style_monet"
    ]

    @field_validator("preload", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return [name.strip() for name in value.split(",") if name.strip()] if isinstance(value, str) else value
