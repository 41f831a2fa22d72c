"""Routes that take a form, without most of what FastAPI does anew with each field of each request.

FastAPI 0.165 works out again for every request what kind each field has, which for a dozen fields takes longer than
anything else between the HTTP server and the queue. A :class:`FormRoute` works it out once, and reads a small form at
once. Whatever is not plainly right about a request is left to FastAPI, so requests are refused as ever.
"""

import inspect
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from fastapi import Request, Response, UploadFile, params
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute, _effective_route_context_var, get_request_handler
from pydantic_core import PydanticUndefined
from starlette.datastructures import UploadFile as SentFile

from app.small_forms import read_small_form

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class FormRoute(APIRoute):
    """A route whose endpoint takes the request, single form fields, and what functions of the request give."""

    def get_route_handler(self) -> Handler:
        usual = super().get_route_handler()
        context = _effective_route_context_var.get()
        # As its router includes it, perhaps with further dependencies.
        route: Any = context if context is not None and context.original_route is self else self
        dependant: Dependant = route.dependant
        if not _is_plain(dependant):
            return usual
        fields = [_Field.of(field) for field in dependant.body_params]

        async def arguments(request: Request) -> dict[str, Any] | None:
            """What the endpoint takes; None if FastAPI had better read the request."""
            sent = dict((await request.form()).multi_items())  # of several of one name the last, as FastAPI has it
            values: dict[str, Any] = {}
            for dependency in dependant.dependencies:
                given = await dependency.call(**{str(dependency.request_param_name): request})  # type: ignore[misc]
                if dependency.name is not None:
                    values[dependency.name] = given
            for field in fields:
                value = field.value_of(sent.get(field.alias))
                if value is PydanticUndefined:
                    return None
                values[field.name] = value
            if dependant.request_param_name is not None:
                values[dependant.request_param_name] = request
            return values

        async def endpoint(request: Request) -> Response:
            # The body has been read by now, and the form is kept with the request.
            values = await arguments(request)
            return await (usual(request) if values is None else dependant.call(**values))  # type: ignore[misc]

        read_by_fastapi = get_request_handler(
            Dependant(call=endpoint, request_param_name="request", path=dependant.path),
            body_field=route.body_field,
            response_class=self.response_class,
            form_limits=self.form_limits,
        )

        async def handler(request: Request) -> Response:
            form = await read_small_form(request)
            if form is None:
                return await read_by_fastapi(request)
            request._form = form  # where Request.form() keeps what it has read
            values = await arguments(request)
            if values is None:
                request._form = None
                return await usual(request)  # of the body, which is kept with the request
            response: Response = await dependant.call(**values)  # type: ignore[misc]
            return response

        return handler


@dataclass(frozen=True)
class _Field:
    name: str
    alias: str
    is_file: bool
    default: Any  # PydanticUndefined: it must be sent
    validate: Callable[..., tuple[Any, list[Any]]]

    @classmethod
    def of(cls, field: Any) -> "_Field":
        return cls(
            field.name,
            field.alias,
            isinstance(field.field_info, params.File),
            field.get_default(),
            field.validate,
        )

    def value_of(self, sent: str | SentFile | None) -> Any:
        """The field's value; PydanticUndefined if FastAPI had better look at it."""
        if sent is None or sent == "":
            return self.default
        if isinstance(sent, SentFile) is not self.is_file or (isinstance(sent, SentFile) and not sent.filename):
            return PydanticUndefined
        value, errors = self.validate(sent)
        return PydanticUndefined if errors else value


def _is_plain(dependant: Dependant) -> bool:
    """Whether a route is one that a :class:`FormRoute` can serve itself."""
    return (
        inspect.iscoroutinefunction(dependant.call)
        and not _takes_more_than_the_request(dependant)
        and all(
            inspect.iscoroutinefunction(one.call)
            and one.request_param_name is not None
            and not (one.dependencies or one.body_params or _takes_more_than_the_request(one))
            for one in dependant.dependencies
        )
        and all(_is_single(field) for field in dependant.body_params)
    )


def _takes_more_than_the_request(dependant: Dependant) -> bool:
    return bool(
        dependant.path_params
        or dependant.query_params
        or dependant.header_params
        or dependant.cookie_params
        or dependant.websocket_param_name
        or dependant.http_connection_param_name
        or dependant.response_param_name
        or dependant.background_tasks_param_name
        or dependant.security_scopes_param_name
        or dependant.own_oauth_scopes
        or dependant.concurrency
    )


def _is_single(field: Any) -> bool:
    """Whether a field is a text or a file, sent once, with a default that can be shared."""
    info = field.field_info
    default = field.get_default()
    return (
        isinstance(info, params.Form)
        and not info.validate_default
        and info.validation_alias in (None, field.alias)
        and (default is PydanticUndefined or isinstance(default, str | int | float | None))
        and (not isinstance(info, params.File) or info.annotation in (UploadFile, UploadFile | None))
    )
