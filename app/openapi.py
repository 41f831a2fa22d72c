"""The OpenAPI document: FastAPI's, adjusted so that validators, client generators and Swagger UI all understand it."""

import copy
import json
from collections.abc import Iterator, Sequence
from importlib import metadata
from typing import Any

from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from starlette.routing import BaseRoute

from app import keyed_requests
from app.access import is_open, needed_scope
from app.errors import MEDIA_TYPE
from app.schemas import ProblemDetails
from models.store.catalog import Catalog, Model

TITLE = "Doppel"
VERSION = metadata.version("doppel")
SUMMARY = "Image-to-image translation: a photo in, a painting out."
_TAGS = ("translate", "style", "stargan", "jobs", "models", "datasets", "training", "verify", "health")
TAGS = [{"name": name} for name in _TAGS]
DESCRIPTION = """
Send a picture and the name of a model to `POST /translate` and get the translated picture back, or a photo and a
painting to `POST /style` and get the photo painted so. To make a model of your
own, upload a zip of pictures to `POST /datasets`, start a training run with `POST /training/cyclegan`,
`POST /training/cut` or `POST /training/stargan`, and put the result into service with `POST /training/{id}/publish`.

Every error is an [RFC 9457](https://www.rfc-editor.org/rfc/rfc9457) document of type `application/problem+json`. Its
`detail` says what was wrong and what is accepted. Besides the errors listed with each call, any call answers 400 if its
`Host` is not a name of this server, 408 if the request comes too slowly, 413 if its body is larger than this call takes
(64 KiB if it is no file), 431 if its headers exceed 32 KiB, and 503 if there are too many connections; POST and DELETE
answer 403 if a web page of another site sent them.

A query parameter, form field or JSON key that a call does not take, or that is sent twice, is answered 422. HEAD is
answered wherever GET is, and files are sent in parts to those who ask for them with `Range`.

A POST that is sent again with the same `Idempotency-Key` makes nothing twice: it is answered by the job, run, data set
or model of the first, for 4 hours from then on. The same key with other content is answered 422; how long to `wait` may
differ.

Generate clients from [`openapi.json`](openapi.json). The names of its operations do not change.

Every call that makes a job or a run takes `webhook`, an address to which it is sent when it has ended.

Every picture and video that the service makes is marked as generated (IPTC `compositeWithTrainedAlgorithmicMedia`), and
carries signed Content Credentials (C2PA), which say by which model it was made. `POST /verify` reads them.
"""

Json = dict[str, Any]

_IDEMPOTENCY_KEY: Json = {
    "name": keyed_requests.HEADER,
    "in": "header",
    "required": False,
    "description": "a name for this request, drawn at random: if it is sent again with the same key, it makes nothing "
    "new and is answered by what the first one made",
    "schema": {"type": "string", "minLength": 1, "maxLength": keyed_requests.MAX_KEY, "pattern": "^[!-~]+$"},
}


_SCHEME = "key"
_KEY_SCHEME: Json = {
    "type": "http",
    "scheme": "bearer",
    "description": "an API key of this server, from its operator",
}
_REFUSALS = {
    "401": "There is no API key with the request, or none that is known here.",
    "403": "The API key is not good for this call.",
    "429": "The API key has as much in hand as it may, or sends too often. `Retry-After` says when to try again.",
}


def operation_id(route: APIRoute) -> str:
    """The name of the route's function. Generated clients call the operation by it, so it must not change."""
    return route.name


def document(routes: Sequence[BaseRoute], *, keyed: bool = False) -> Json:
    """Describe the API that has these routes.

    Args:
        keyed: whether its calls need API keys.

    FastAPI 0.165 writes three things that common readers of OpenAPI 3.1 refuse or misread:

    - ``itemSchema`` on event streams, which only OpenAPI 3.2 has;
    - ``contentMediaType`` for uploads, where Swagger UI and client generators look for ``format: binary``;
    - ``null`` as a type of optional form fields, although a form cannot carry it.

    It also adds its own error schema for status 422, which our error handlers never send.
    """
    described = get_openapi(
        title=TITLE, version=VERSION, summary=SUMMARY, description=DESCRIPTION, routes=routes, tags=TAGS
    )
    _adjust_responses(described)
    described["webhooks"] = {
        "job-ended": _webhook("A job has ended", "Job", "The job, as `GET /jobs/{id}` shows it."),
        "run-ended": _webhook("A training run has ended", "TrainingRun", "The run, as `GET /training/{id}` shows it."),
    }
    for methods in described["paths"].values():
        if "post" in methods:
            methods["post"].setdefault("parameters", []).append(_IDEMPOTENCY_KEY)
    for _, form in _forms(described):
        form["properties"] = {name: _form_field(field) for name, field in form["properties"].items()}
    if keyed:
        _ask_for_keys(described)
    return described


def _webhook(summary: str, schema: str, description: str) -> Json:
    """What is sent to the address that a request names in ``webhook`` (docs/webhooks.md)."""
    headers = {
        "webhook-id": "the same each time that this message is sent",
        "webhook-timestamp": "when it was sent, in Unix seconds",
        "webhook-signature": "`v1,` and HMAC-SHA256 of id, timestamp and body, joined by dots, in Base64",
    }
    return {
        "post": {
            "summary": summary,
            "parameters": [
                {"name": name, "in": "header", "required": True, "description": text, "schema": {"type": "string"}}
                for name, text in headers.items()
            ],
            "requestBody": {
                "description": description,
                "required": True,
                "content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}},
            },
            "responses": {"2XX": {"description": "it was taken; anything else, and it is sent again later"}},
        }
    }


_ABOVE = [{"url": "..", "description": "this server"}]  # relative to the document


class DocumentFiles:
    """The document as it is sent, made once for each form in which it is asked for.

    Args:
        document: the document.
    """

    def __init__(self, document: Json) -> None:
        self._document = document
        self._plain: dict[str, bytes] = {}  # by the prefix under which the API is published, of which there are few
        self._for_people: tuple[object, bytes] | None = None  # the names that it has, and the file

    def plain(self, root_path: str) -> bytes:
        """For programs.

        Args:
            root_path: prefix under which the API is published; empty: none.
        """
        if root_path not in self._plain:
            servers = {"servers": [{"url": root_path}]} if root_path else {}
            self._plain = {root_path: _rendered({**self._document, **servers})}
        return self._plain[root_path]

    def for_page(self) -> bytes:
        """For a page whose address is one level below the API's."""
        return _rendered({**self._document, "servers": _ABOVE})

    def with_models_listed(self, catalog: Catalog) -> bytes:
        """The same for a page with drop-downs: ``model`` is a choice among the catalog's present models.

        A generated client must not contain such a list, since models come and go.
        """
        models, names = catalog.all(), catalog.names()
        key = [(model.name, model.card.family) for model in models], names
        if self._for_people is None or self._for_people[0] != key:
            document = _with_models_listed(self._document, models, names)
            document["servers"] = _ABOVE
            self._for_people = key, _rendered(document)
        return self._for_people[1]


def _rendered(document: Json) -> bytes:
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


def _with_models_listed(document: Json, models: Sequence[Model], names: Sequence[str]) -> Json:
    document = copy.deepcopy(document)
    stargan = ["", *(model.name for model in models if model.card.family == "stargan_v2")]  # empty: the default model
    style = [model.name for model in models if model.card.family == "style"]
    for path, form in _forms(document):
        if model := form["properties"].get("model"):
            model.pop("examples", None)
            of_family = {"stargan": stargan, "style": style}  # by the first part of the path
            model["enum"] = of_family.get(path.split("/")[1], names)
            if model["default"] not in model["enum"]:  # the operator replaced the models that ship
                del model["default"]
    return document


def _operations(document: Json) -> Iterator[tuple[str, Json]]:
    """Each operation with its path."""
    for path, methods in document["paths"].items():
        for operation in methods.values():
            yield path, operation


def _forms(document: Json) -> Iterator[tuple[str, Json]]:
    """The schema of each multipart form with the path that takes it."""
    for path, operation in _operations(document):
        form = operation.get("requestBody", {}).get("content", {}).get("multipart/form-data")
        if form:
            yield path, document["components"]["schemas"][form["schema"]["$ref"].rsplit("/", 1)[1]]


def _form_field(schema: Json) -> Json:
    match schema:
        case {"anyOf": [inner, {"type": "null"}], **rest}:
            return _form_field({**inner, **rest})
        case {"items": items}:
            return {**schema, "items": _form_field(items)}
        case {"contentMediaType": "application/octet-stream", **rest}:
            return {**rest, "format": "binary"}
    return schema


def _ask_for_keys(document: Json) -> None:
    document["components"]["securitySchemes"] = {_SCHEME: _KEY_SCHEME}
    problem = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemDetails"}}}
    for path, methods in document["paths"].items():
        if is_open(path):
            continue
        for method, operation in methods.items():
            scope = needed_scope(method.upper(), path)
            operation["security"] = [{_SCHEME: [scope.value] if scope else []}]
            for status, description in _REFUSALS.items():
                operation["responses"][status] = {"description": description, "content": problem}


def _adjust_responses(document: Json) -> None:
    schemas = document["components"]["schemas"]
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    schemas["ProblemDetails"] = ProblemDetails.model_json_schema()
    for _, operation in _operations(document):
        for status, response in operation["responses"].items():
            for media_type in response.get("content", {}).values():
                media_type.pop("itemSchema", None)
            if status == "422":
                response["content"] = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemDetails"}}}
