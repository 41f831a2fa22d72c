"""What each call takes, read from its own OpenAPI description, and the refusal of requests that send anything else."""

import json
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cached_property
from typing import Any

from fastapi import Request
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from starlette.datastructures import UploadFile

from models.errors import Invalid

FORM = "multipart/form-data"
URL_ENCODED = "application/x-www-form-urlencoded"
JSON = "application/json"
MAX_LISTED = 16  # names in a message; of a call that takes more, /docs has the list

Json = dict[str, Any]


@dataclass(frozen=True)
class Parameters:
    """What one call takes."""

    query: dict[str, Json] = field(default_factory=dict)  # name → schema
    body: dict[str, Json] = field(default_factory=dict)  # the form's fields or the JSON object's keys: name → schema
    any_key: bool = False  # the JSON object may have further keys
    media_type: str | None = None  # of the body: FORM, JSON or, for a call that takes none, None
    needed: tuple[str, ...] = ()  # names in the body that must be sent
    body_needed: bool = False

    @cached_property
    def files(self) -> list[str]:
        """Names of the form's files."""
        return [name for name, schema in self.body.items() if _is_file(schema)]

    def example(self, request: Request) -> str:
        """A command that sends such a request with curl."""
        address = f"{request.url.netloc}{request.url.path}"
        if self.media_type == FORM:
            needed = self.needed or tuple(self.files[:1])
            fields = " ".join(f"-F {name}={'@FILE' if name in self.files else '...'}" for name in needed)
            return f"curl {fields} {address}"
        body = json.dumps({name: "..." for name in self.needed})
        return f"curl -H 'Content-Type: {JSON}' -d '{body}' {address}"


_known: dict[tuple[Callable[..., Any], str], Parameters] = {}


def parameters_of(request: Request) -> Parameters | None:
    """What the called route takes; None for a call that is not in the OpenAPI document."""
    route = request.scope.get("route")
    if not isinstance(route, APIRoute) or not route.include_in_schema or request.method not in (route.methods or ()):
        return None
    key = route.endpoint, request.method
    if key not in _known:
        _known[key] = _read(route, request.method)
    return _known[key]


def _read(route: APIRoute, method: str) -> Parameters:
    document = get_openapi(title="", version="", routes=[route])
    operation = document["paths"][route.path][method.lower()]
    query = {item["name"]: item["schema"] for item in operation.get("parameters", ()) if item["in"] == "query"}
    body = operation.get("requestBody")
    if body is None:
        return Parameters(query)
    [(media_type, content)] = body["content"].items()
    schema = content["schema"]
    schema = next(iter(schema.get("anyOf", [schema])))  # an optional body is this or null
    if "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]]
    return Parameters(
        query=query,
        body=schema.get("properties", {}),
        any_key=bool(schema.get("additionalProperties", "properties" not in schema)),
        media_type=media_type,
        needed=tuple(schema.get("required", ())),
        body_needed=body.get("required", False),
    )


def _is_file(schema: Json) -> bool:
    return "contentMediaType" in str(schema)  # of the field itself, of a list's items, or of one of several types


def _is_repeatable(schema: Json) -> bool:
    return any(kind.get("type") == "array" for kind in schema.get("anyOf", [schema]))


async def refuse_unknown(request: Request) -> None:
    """Refuse a query parameter, form field or JSON key that the call does not take, and one that is sent twice.

    A dependency of all routes. FastAPI ignores such names: a misspelt one would be obeyed as if it had not been sent.

    Raises:
        Invalid: the request sends one, or a body of a kind that the call does not take.
    """
    takes = parameters_of(request)
    if takes is None:
        return
    _check("query parameter", request.query_params.multi_items(), takes.query, takes, request)
    if wrong := wrong_kind(request, takes):
        raise Invalid(wrong)
    if takes.media_type == FORM:
        form = (await request.form()).multi_items()
        _check("form field", form, takes.body, takes, request)
        for name, value in form:
            if name in takes.files and value and not isinstance(value, UploadFile):  # an empty one counts as not sent
                raise Invalid(
                    f"{name}: a file is needed, not text; a part of a form is a file if it has a file name. With curl: "
                    f"{takes.example(request)}"
                )
    elif takes.media_type == JSON:
        _check("key", _pairs(await request.body()), takes.body, takes, request)
    elif _has_body(request) and await request.body() != b"{}":  # some clients send an empty object whatever the call
        raise Invalid("This call takes no body.")


def wrong_kind(request: Request, takes: Parameters) -> str | None:
    """Say how to call the route, if the request's body is of a kind that it does not take."""
    if (encoding := request.headers.get("content-encoding", "identity")) != "identity":
        return f"The body is encoded as {encoding[:40]}; send it as it is. With curl: {takes.example(request)}"
    sent = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    but = f", not {sent}" if sent else "; its Content-Type is missing" if _has_body(request) else "; no body was sent"
    if takes.media_type == FORM and sent != FORM:
        if sent == URL_ENCODED and not set(takes.files) & set(takes.needed):
            return None
        return (
            f"This call takes a form ({FORM}){but}. Files are parts of the form, as they are: no base64, no data: URL, "
            f"no address. With curl: {takes.example(request)}"
        )
    is_json = sent == JSON or sent.endswith("+json")
    if takes.media_type == JSON and not is_json and (takes.body_needed or _has_body(request)):
        return f"This call takes a JSON object ({JSON}){but}. With curl: {takes.example(request)}"
    return None


def paths_like(request: Request) -> dict[str, list[str]]:
    """The addresses that the requested one may stand for, and the methods of each.

    Each is a path of the OpenAPI document, filled in with the parts of the requested path. Where two are the same, that
    with fewer parts filled in counts.
    """
    root = request.scope.get("root_path", "")
    parts = request.scope["path"].removeprefix(root).split("/")
    found = []
    for path, operations in request.app.openapi()["paths"].items():
        template = path.split("/")
        if len(template) == len(parts):
            pairs = zip(template, parts, strict=True)
            address = root + "/".join(sent if known.startswith("{") else known for known, sent in pairs)
            methods = [method.upper() for method in operations]
            found.append((path.count("{"), address, methods + ["HEAD"] * ("GET" in methods)))
    return {address: methods for _, address, methods in sorted(found, reverse=True)}


def refuse_unknown_names(kind: str, names: Iterable[str], known: Collection[str]) -> None:
    """Refuse the first name that is not known, and say which one may have been meant.

    Args:
        kind: what the names are of, for the message.

    Raises:
        Invalid: there is such a name.
    """
    for name in names:
        if name not in known:
            raise Invalid(f"{name[:80]}: there is no {kind} of this name{_hint(name, known)}")


def _check(
    kind: str, sent: Sequence[tuple[str, object]], known: dict[str, Json], takes: Parameters, request: Request
) -> None:
    for name, value in sent:
        if name in known or (kind == "key" and takes.any_key):
            continue
        if kind == "query parameter" and name in takes.body and takes.media_type == FORM:
            raise Invalid(f"{name}: a form field, not a query parameter. With curl: -F {name}=...")
        if kind != "query parameter" and name in takes.query:
            raise Invalid(f"{name}: a query parameter, sent in the address: ?{name}=...")
        if isinstance(value, UploadFile) and takes.files:
            [near] = get_close_matches(name.lower(), takes.files, n=1, cutoff=0)
            raise Invalid(
                f"{name[:80]}: there is no file of this name; did you mean {near}? With curl: {takes.example(request)}"
            )
        refuse_unknown_names(kind, [name], known)
    if len({name for name, _ in sent}) == len(sent):
        return
    for name, count in Counter(name for name, _ in sent).items():
        if count > 1 and (kind == "key" or not _is_repeatable(known[name])):
            raise Invalid(f"{name}: sent {count} times; this call takes it once.")


def _hint(name: str, known: Collection[str]) -> str:
    if near := get_close_matches(name.lower(), known, n=1):
        return f"; did you mean {near[0]}?"
    if not known:
        return "; this call takes none."
    return f"; there are {', '.join(known)}." if len(known) <= MAX_LISTED else "; see /docs."


def _has_body(request: Request) -> bool:
    return request.headers.get("content-length", "0") != "0" or "transfer-encoding" in request.headers


def _pairs(body: bytes) -> list[tuple[str, object]]:
    """The keys and values of a JSON object, repeated ones too; none if it is no object, which pydantic reports."""
    try:
        value = json.loads(body, object_pairs_hook=_Pairs)
    except (ValueError, RecursionError):
        return []
    return list(value) if isinstance(value, _Pairs) else []


class _Pairs(list[tuple[str, object]]):
    """The content of a JSON object, told from a JSON array."""
