"""A form route reads what FastAPI would read, and leaves to FastAPI what it would refuse."""

import asyncio
from typing import Annotated

import httpx
import pytest
from fastapi import APIRouter, Depends, FastAPI, File, Form, Header, Request, Response, UploadFile
from fastapi.routing import APIRoute

from app.form_routes import FormRoute

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
