"""Deployment settings, read from environment variables once at the entry point and passed on."""

import re
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import redis
from pydantic import Field, SecretStr, ValidationInfo, field_validator
from pydantic_core import PydanticUseDefault
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from app.webhook_signing import secret_bytes
from app.webhook_targets import network_of
from models.cores import usable_cores
from models.logs import Format
from models.store.disk import Room
from worker.connection import with_password

# Beside the packages, in a checkout as where a wheel is installed.
_SHIPPED_WEIGHTS = Path(__file__).resolve().parent.parent / "weights"

PREPARER_JOBS = ("imports", "fetches", "estimates")  # the argument of `doppel preparer`
LISTENER = "--listener"  # the option of `doppel api` that names a socket which it inherits
MOST_API_PROCESSES = 8  # by default; the workers of a larger machine can't keep more of them busy

_HOST_NAME = re.compile(r"\*|(\*\.)?[a-z0-9_-]+(\.[a-z0-9_-]+)*")
_ROOT_PATH = re.compile(r"(/[\w.~-]+)*", re.ASCII)
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://(\[[0-9a-f:.]+\]|[a-z0-9_.-]+)(:[0-9]+)?")


class Settings(BaseSettings):
    """Each field is set by the environment variable DOPPEL_<FIELD>. Names of durations and sizes end in their unit.

    A variable that is empty counts as unset, but for lists, which are then empty.
    """

    model_config = SettingsConfigDict(env_prefix="DOPPEL_", extra="ignore", validate_default=True)

    redis_password_file: Annotated[
        Path | None, Field(description="file with the password of that Redis, where its address has none")
    ] = None
    redis_url: Annotated[str | None, Field(description="redis://, rediss:// or unix://; unset: an embedded Redis")] = (
        None
    )
    data_dir: Annotated[
        Path, Field(description="data sets, runs, fetched and published models, the embedded Redis")
    ] = Path("var")
    weights_dir: Annotated[Path, Field(description="the models that come with Doppel")] = _SHIPPED_WEIGHTS
    weights_url: Annotated[str | None, Field(description="a mirror of the upstream weights")] = None
    offline: Annotated[bool, Field(description="never download anything")] = False

    host: Annotated[str, Field(description="address to listen on")] = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535, description="0: any free one")] = 8000
    api_processes: Annotated[
        int | None,
        Field(ge=1, description="processes that answer HTTP requests; unset: half as many as cores, at most 8"),
    ] = None
    api_keys: Annotated[
        str | None, Field(description="API keys, a line each or `;` between them; see `doppel key new`")
    ] = None
    api_keys_file: Annotated[
        Path | None, Field(description="file with API keys, a line each, read again whenever it changes")
    ] = None
    allow_anonymous: Annotated[
        bool,
        Field(description="listen on other addresses than loopback without API keys: whoever gets there may do all"),
    ] = False
    max_connections: Annotated[
        int, Field(ge=1, description="most connections of one API process, if it may open three files for each")
    ] = 1000
    root_path: Annotated[
        str, Field(description="prefix under which a reverse proxy publishes the API, such as /doppel")
    ] = ""
    allowed_hosts: Annotated[
        list[str],
        NoDecode,
        Field(
            description="host names accepted in Host besides localhost, comma-separated, `*.example.org` for all names "
            "in a domain; unset: any name, but on a loopback address only localhost"
        ),
    ] = []
    cors_origins: Annotated[
        list[str],
        NoDecode,
        Field(
            description="origins of other sites whose web pages may use the API, comma-separated, such as "
            "https://example.org; * allows all"
        ),
    ] = []
    max_upload_mb: Annotated[int, Field(ge=1, description="largest request body, in MiB")] = 20
    max_pixels: Annotated[int, Field(ge=1, description="largest uploaded picture, in pixels")] = 50_000_000
    max_output_pixels: Annotated[int, Field(ge=1, description="largest picture given to a model, in pixels")] = (
        4_194_304
    )
    max_tiled_pixels: Annotated[
        int,
        Field(ge=0, description="largest picture that a CycleGAN translates in tiles, in pixels; 0: no tiles"),
    ] = 50_000_000
    max_clip_mb: Annotated[int, Field(ge=1, description="largest upload with a video that is painted, in MiB")] = 64
    max_clip_s: Annotated[float, Field(gt=0, description="longest video that is painted, in seconds")] = 60.0
    max_clip_frames: Annotated[int, Field(ge=1, description="most frames of a video that is painted")] = 1800
    max_clip_pixels: Annotated[
        int, Field(ge=1, description="largest frame of a video that is painted, in pixels, before it is scaled")
    ] = 8_847_360
    queue_limit: Annotated[int, Field(ge=1, description="most jobs in the queue")] = 1000
    result_ttl_s: Annotated[
        int, Field(ge=1, description="how long the result of a job is kept if no request waited for it")
    ] = 3600

    content_credentials: Annotated[
        bool, Field(description="sign what is made, as Content Credentials; false leaves the IPTC mark alone")
    ] = True
    signing_certificate: Annotated[
        Path | None,
        Field(description="PEM file with the certificate that signs and those above it; unset: one of Doppel's own"),
    ] = None
    signing_key: Annotated[Path | None, Field(description="PEM file with the key of that certificate")] = None
    timestamp_url: Annotated[
        str | None, Field(description="a time-stamp authority (RFC 3161) that confirms when something was signed")
    ] = None

    webhooks: Annotated[bool, Field(description="report the end of jobs and runs to addresses that clients name")] = (
        True
    )
    webhook_http: Annotated[
        bool, Field(description="also to http:// addresses, on whose way anyone can read along")
    ] = False
    webhook_private: Annotated[
        list[str],
        NoDecode,
        Field(
            description="hosts and networks that webhooks may reach although they are not public, comma-separated, "
            "such as receiver,*.example.org,10.0.0.0/8"
        ),
    ] = []
    webhook_secret: Annotated[
        SecretStr | None,
        Field(
            description="what webhooks' secrets follow from, whsec_ and 24 to 64 bytes in Base64; unset: one is drawn"
        ),
    ] = None

    disk_reserved_mb: Annotated[
        int,
        Field(ge=0, description="free disk space for the data folder below which nothing new is taken, in MiB"),
    ] = 256
    max_store_mb: Annotated[
        int | None,
        Field(ge=1, description="most that data sets, runs and models take together, in MiB; unset: the disk"),
    ] = None
    max_dataset_mb: Annotated[int, Field(ge=1, description="largest uploaded data set, in MiB")] = 2048
    max_model_mb: Annotated[int, Field(ge=1, description="largest uploaded model, in MiB")] = 1024
    training_queue_limit: Annotated[int, Field(ge=1, description="most training runs that wait for a trainer")] = 100
    trainers: Annotated[int, Field(ge=0, description="trainer processes that `doppel serve` starts")] = 1
    training_reserved_mb: Annotated[
        int, Field(ge=0, description="GPU memory that training leaves to the workers, in MiB")
    ] = 4096

    training_threads: Annotated[
        int | None, Field(ge=1, description="CPU threads of a training run; unset: all cores but one")
    ] = None

    log_format: Annotated[
        Format, Field(description="text, or json: one object a line, with the ids of requests, and a line per request")
    ] = "text"

    workers: Annotated[int, Field(ge=0, description="worker processes that `doppel serve` starts")] = 1
    worker_threads: Annotated[
        int | None,
        Field(
            ge=1, description="CPU threads of a worker; unset: all cores, which `doppel serve` divides among workers"
        ),
    ] = None
    device: Annotated[str, Field(description="auto, cpu, cuda, cuda:1, mps")] = "auto"
    max_batch: Annotated[
        int | None, Field(ge=1, le=256, description="most pictures in a batch; unset: 16 on a GPU, 1 on a CPU")
    ] = None
    batch_wait_ms: Annotated[
        float, Field(ge=0, description="how long a batch waits at most for more jobs, while they come")
    ] = 5.0
    resident_mb: Annotated[
        int, Field(ge=1, description="most memory for weights that a worker keeps loaded, in MiB")
    ] = 2048
    worker_memory_mb: Annotated[
        int | None,
        Field(
            ge=512,
            description="most memory of a worker on a CPU, in MiB; unset: its share of four fifths of the machine's",
        ),
    ] = None
    max_job_s: Annotated[
        float, Field(gt=0, description="most time for a grid, a video, a clip or a picture in tiles, in seconds")
    ] = 3600.0
    import_timeout_s: Annotated[
        int, Field(ge=1, description="most time to take in a data set or a model, in seconds")
    ] = 7200
    preload: Annotated[
        list[str], NoDecode, Field(description="models that a worker loads at start, comma-separated")
    ] = ["style_monet"]

    @property
    def has_keys(self) -> bool:
        """Whether the API asks for keys."""
        return self.api_keys is not None or self.api_keys_file is not None

    @property
    def api_process_count(self) -> int:
        """How many processes answer HTTP requests."""
        return self.api_processes or min(MOST_API_PROCESSES, max(1, usable_cores() // 2))

    @property
    def room(self) -> Room:
        """The room for data sets, runs and models."""
        most_bytes = None if self.max_store_mb is None else self.max_store_mb << 20
        return Room(self.data_dir, self.disk_reserved_mb << 20, most_bytes)

    @field_validator("*", mode="before")
    @classmethod
    def _empty_is_unset(cls, value: object, info: ValidationInfo) -> object:
        if value == "" and info.field_name != "root_path":  # whose default is empty
            raise PydanticUseDefault
        return value

    @field_validator("redis_url")
    @classmethod
    def _check_redis_url(cls, url: str | None, info: ValidationInfo) -> str | None:
        if url is not None:
            url = with_password(url, info.data.get("redis_password_file"))
            redis.ConnectionPool.from_url(url)  # raises ValueError
            scheme, _, path, *_ = urlsplit(url)
            if scheme != "unix" and not re.fullmatch(r"/?\d*", path):
                raise ValueError(f"{path!r} is not the number of a database, such as /0")
        return url

    @field_validator("data_dir", "weights_dir")
    @classmethod
    def _make_absolute(cls, path: Path) -> Path:
        try:
            return path.expanduser().absolute()
        except RuntimeError as error:
            raise ValueError(f"{error} Give an absolute path.") from error
        except FileNotFoundError as error:
            raise ValueError(f"{str(path)!r} is in the current folder, which was removed") from error

    @field_validator("signing_key")
    @classmethod
    def _check_signing_key(cls, key: Path | None, info: ValidationInfo) -> Path | None:
        if (key is None) != (info.data.get("signing_certificate") is None):
            raise ValueError("set DOPPEL_SIGNING_CERTIFICATE and DOPPEL_SIGNING_KEY, or neither")
        return key

    @field_validator("timestamp_url")
    @classmethod
    def _check_timestamp_url(cls, url: str | None) -> str | None:
        if url is not None and urlsplit(url).scheme not in ("http", "https"):
            raise ValueError(f"{url!r} is not an address that begins with http:// or https://")
        return url

    @field_validator("host")
    @classmethod
    def _without_brackets(cls, host: str) -> str:
        return host.removeprefix("[").removesuffix("]")

    @field_validator("root_path")
    @classmethod
    def _check_root_path(cls, path: str) -> str:
        path = f"/{path}".rstrip("/").replace("//", "/")
        if not _ROOT_PATH.fullmatch(path):
            raise ValueError(f"{path!r} is not a path such as /doppel")
        return path

    @field_validator("preload", "allowed_hosts", "cors_origins", "webhook_private", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return [name.strip() for name in value.split(",") if name.strip()] if isinstance(value, str) else value

    @field_validator("webhook_secret")
    @classmethod
    def _check_webhook_secret(cls, secret: SecretStr | None) -> SecretStr | None:
        if secret is not None:
            secret_bytes(secret.get_secret_value())  # raises ValueError
        return secret

    @field_validator("webhook_private")
    @classmethod
    def _check_private(cls, entries: list[str]) -> list[str]:
        entries = [entry.lower() for entry in entries]
        for entry in entries:
            if entry == "*" or not (_HOST_NAME.fullmatch(entry) or network_of(entry)):
                raise ValueError(f"{entry!r} is neither a host's name nor a network such as 10.0.0.0/8")
        return entries

    @field_validator("allowed_hosts")
    @classmethod
    def _check_hosts(cls, names: list[str]) -> list[str]:
        names = [name.strip("[]").lower() for name in names]
        for name in names:
            if not (_HOST_NAME.fullmatch(name) or _is_address(name)):
                raise ValueError(f"{name!r} is not a host name; give names without scheme and port")
        return names

    @field_validator("cors_origins")
    @classmethod
    def _check_origins(cls, origins: list[str]) -> list[str]:
        origins = [origin.removesuffix("/").lower() for origin in origins]
        for origin in origins:
            if origin not in ("*", "null") and not _ORIGIN.fullmatch(origin):
                raise ValueError(f"{origin!r} is not an origin; give scheme, host and port only: https://example.org")
        return origins


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True
