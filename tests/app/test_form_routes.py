"""A form route reads what FastAPI would read, and leaves to FastAPI what it would refuse."""

import asyncio
from typing import Annotated

import httpx
import pytest
from fastapi import APIRouter, Depends, FastAPI, File, Form, Header, Request, Response, UploadFile
from fastapi.routing import APIRoute

from app.form_routes import FormRoute
from app.small_forms import SMALL_BYTES, parsed, read_small_form

FILE = ("a.png", b"bytes", "image/png")


async def agent(request: Request) -> str:
    return request.headers["user-agent"]


async def checked(request: Request) -> None:
    request.state.fields = len(await request.form())


async def echo(
    request: Request,
    agent: Annotated[str, Depends(agent)],
    image: Annotated[UploadFile, File()],
    share: Annotated[float, Form(ge=0, le=1)] = 0.5,
    name: Annotated[str, Form()] = "none",
    other: Annotated[UploadFile | None, File()] = None,
) -> Response:
    sent = await image.read(), other and await other.read()
    return Response(repr((sent, share, name, agent, request.state.fields)))


def app_of(route_class, endpoint=echo):
    router = APIRouter(route_class=route_class)
    router.post("/echo", response_class=Response)(endpoint)
    app = FastAPI()
    app.include_router(router, dependencies=[Depends(checked)])
    return app


def post(app, **content):
    async def scenario():
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
            return await client.post("/echo", **content)

    return asyncio.run(scenario())


@pytest.mark.parametrize(
    ("files", "fields"),
    [
        ({"image": FILE}, {}),
        ({"image": FILE, "other": ("b", b"more")}, {"share": "1", "name": "x"}),
        ({"image": FILE}, {"share": "", "name": ""}),
        ({"image": FILE}, {"share": "2"}),
        ({"image": FILE}, {"share": "half"}),
        ({"image": FILE, "name": FILE}, {}),
        ({"image": ("", b"")}, {}),
        ({"other": FILE}, {}),
        ({}, {"image": "text"}),
    ],
)
def test_an_answer_is_the_same_as_without_it(files, fields):
    answer, expected = (post(app_of(route), files=files, data=fields) for route in (FormRoute, APIRoute))
    assert (answer.status_code, answer.text) == (expected.status_code, expected.text)


def test_a_call_that_takes_more_than_a_form_is_left_to_fastapi():
    async def with_header(image: Annotated[UploadFile, File()], x_name: Annotated[str, Header()]) -> Response:
        return Response(x_name + (await image.read()).decode())

    app = app_of(FormRoute, with_header)
    assert post(app, files={"image": FILE}, headers={"X-Name": "n"}).text == "nbytes"
    assert post(app, files={"image": FILE}).status_code == 422


def test_fastapi_looks_at_no_field_of_a_request_that_is_right(monkeypatch):
    monkeypatch.setattr("fastapi.dependencies.utils.request_body_to_args", None)
    assert post(app_of(FormRoute), files={"image": FILE}).status_code == 200


BOUNDARY = b"----boundary"


def body_of(*parts, end=b"--\r\n"):
    return b"".join(b"--" + BOUNDARY + b"\r\n" + part + b"\r\n" for part in parts) + b"--" + BOUNDARY + end


def text(name, value=b"x", more=b""):
    return b'Content-Disposition: form-data; name="' + name + b'"' + more + b"\r\n\r\n" + value


PICTURE = text(b"image", bytes(range(256)) + b"\r\n--\r\n\r\n", b'; filename="a b.png"\r\nContent-Type: image/png')

PLAIN = [
    body_of(text(b"a")),
    body_of(text(b"a", b""), text(b"a", "Bäume\r\n".encode())),
    body_of(PICTURE, text(b"x-1.y", b"a--" + BOUNDARY)),
    body_of(PICTURE.lower(), end=b"--"),
]
# For a parser that knows more of what may be in a form, or refuses it.
NOT_PLAIN = [
    b"",
    body_of(),
    body_of(text(b"a"), end=b""),
    body_of(text(b"a"), end=b"--\r\nmore"),
    b"preamble\r\n" + body_of(text(b"a")),
    body_of(text(b"a", b"\xff")),
    body_of(text(b"a", b"x\r\n--" + BOUNDARY + b"-longer")),
    body_of(text(b'a"b')),
    body_of(text("ä".encode())),
    body_of(text(b"a", more=b'; filename=""')),
    body_of(text(b"a", more=b'; filename="C:\\\\a.png"')),
    body_of(text(b"a", more=b"; filename*=UTF-8''a")),
    body_of(text(b"a", more=b"\r\nContent-Transfer-Encoding: base64")),
    body_of(b"Content-Type: text/plain\r\n\r\nx"),
    body_of(*[text(b"a")] * 100),
]


async def read_by_starlette(body):
    async def receive():
        return {"type": "http.request", "body": body, "more_body": False}

    headers = [(b"content-type", b"multipart/form-data; boundary=" + BOUNDARY)]
    async with Request({"type": "http", "method": "POST", "headers": headers}, receive).form() as form:
        return await contents(form)


async def contents(form):
    """What is in a form, in order."""
    return [
        (name, value if isinstance(value, str) else (value.filename, value.size, value.headers, await value.read()))
        for name, value in form.multi_items()
    ]


@pytest.mark.parametrize("body", PLAIN)
def test_a_small_form_is_read_as_starlette_reads_it(body):
    form = parsed(body, BOUNDARY)
    assert asyncio.run(contents(form)) == asyncio.run(read_by_starlette(body))


@pytest.mark.parametrize("body", NOT_PLAIN)
def test_a_form_that_is_not_plain_is_left_to_starlette(body):
    assert parsed(body, BOUNDARY) is None


def test_large_forms_and_other_types_are_left_to_starlette():
    async def read(length, content_type):
        async def receive():
            raise AssertionError("the body was read")

        headers = [(b"content-type", content_type), (b"content-length", b"%d" % length)]
        return await read_small_form(Request({"type": "http", "method": "POST", "headers": headers}, receive))

    form = b"multipart/form-data; boundary=b"
    for length, content_type in ((SMALL_BYTES + 1, form), (10, b"text/plain"), (10, form + b"; charset=utf-8")):
        assert asyncio.run(read(length, content_type)) is None
