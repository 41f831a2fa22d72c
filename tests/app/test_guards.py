"""Requests from web pages of other sites are refused; everything else passes."""

from contextlib import ExitStack

import httpx
import pytest
from pydantic import ValidationError

from app.settings import Settings
from tests.conftest import add_model
from tests.processes import api

UNSAFE = ("POST", "/models/none/rollback")  # 404 if it reaches its route
SAFE = ("GET", "/models/none")

CONFIGURATIONS = {
    "local": {},
    "local with names": {"allowed_hosts": "doppel.lan, *.example.org"},
    "network": {"host": "0.0.0.0"},
    "network with names": {"host": "0.0.0.0", "allowed_hosts": "doppel.lan"},
    "open to a studio": {"cors_origins": "https://studio.example, http://localhost:3000"},
    "open to all": {"cors_origins": "*"},
}


@pytest.fixture(scope="module")
def servers(redis_server, tmp_path_factory):
    """A client of a running server for each configuration."""
    root = tmp_path_factory.mktemp("guards")
    add_model(root / "weights", "tiny", ready=True)
    with ExitStack() as stack:
        yield {
            name: stack.enter_context(
                api(
                    Settings(
                        redis_url=redis_server.url, weights_dir=root / "weights", data_dir=root / "var", **settings
                    )
                )
            )
            for name, settings in CONFIGURATIONS.items()
        }


def send(client: httpx.Client, request: tuple[str, str], headers: dict[str, str]) -> httpx.Response:
    method, path = request
    own = {"own": f"http://localhost:{client.base_url.port}", "own address": str(client.base_url).rstrip("/")}
    headers = {name: own.get(value, value) for name, value in headers.items()}
    if headers.get("Host") == "localhost":
        headers["Host"] = f"localhost:{client.base_url.port}"
    return client.request(method, path, headers=headers)


def is_problem(answer: httpx.Response, status: int) -> bool:
    return (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")


LET_THROUGH = {
    "curl": ("local", {}),
    "the docs page": ("local", {"Host": "localhost", "Origin": "own", "Sec-Fetch-Site": "same-origin"}),
    "the docs page by address": ("local", {"Origin": "own address", "Sec-Fetch-Site": "same-origin"}),
    "an old browser on the docs page": ("local", {"Host": "localhost", "Origin": "own"}),
    "a request that the user typed": ("local", {"Sec-Fetch-Site": "none"}),
    "IPv6": ("local", {"Host": "[::1]:8000", "Origin": "http://[::1]:8000"}),
    "a port forwarded to this one": ("local", {"Host": "localhost:9000", "Origin": "http://localhost:9000"}),
    "a proxy with TLS": ("network", {"Host": "example.org", "Origin": "https://example.org"}),
    "a proxy with TLS and its port": ("network", {"Host": "example.org:443", "Origin": "https://example.org"}),
    "a proxy on another port": ("network", {"Host": "example.org:8443", "Origin": "https://example.org:8443"}),
    "upper case": ("network", {"Host": "Example.ORG", "Origin": "http://example.org"}),
    "an allowed origin": ("open to a studio", {"Origin": "https://studio.example", "Sec-Fetch-Site": "cross-site"}),
    "an allowed local origin": ("open to a studio", {"Origin": "http://localhost:3000", "Sec-Fetch-Site": "same-site"}),
    "any origin": ("open to all", {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}),
    "a local file": ("open to all", {"Origin": "null", "Sec-Fetch-Site": "cross-site"}),
}
REFUSED = {
    "another site": ("local", {"Origin": "https://evil.example"}),
    "another site on the network": ("network", {"Host": "example.org", "Origin": "https://evil.example"}),
    "another site that names no origin": ("local", {"Sec-Fetch-Site": "cross-site"}),
    "a sandboxed page or a local file": ("local", {"Origin": "null"}),
    "another port": ("local", {"Host": "localhost:8000", "Origin": "http://localhost:3000"}),
    "another port that names no origin": ("local", {"Sec-Fetch-Site": "same-site"}),
    "the other local name": ("local", {"Host": "localhost", "Origin": "own address"}),
    "a subdomain": ("network", {"Host": "example.org", "Origin": "https://a.example.org"}),
    "a name that only begins the same": ("network", {"Host": "example.org", "Origin": "https://example.org.evil"}),
    "an extension": ("local", {"Host": "localhost", "Origin": "chrome-extension://localhost"}),
    "no host in the origin": ("local", {"Origin": "https://"}),
    "a port out of range": ("local", {"Origin": "http://localhost:99999999"}),
    "an origin that is not the allowed one": ("open to a studio", {"Origin": "https://evil.example"}),
    "the allowed name without TLS": ("open to a studio", {"Origin": "http://studio.example"}),
}


@pytest.mark.parametrize(("server", "headers"), LET_THROUGH.values(), ids=LET_THROUGH)
def test_an_unsafe_request_is_let_through(servers, server, headers):
    assert is_problem(send(servers[server], UNSAFE, headers), 404)


@pytest.mark.parametrize(("server", "headers"), REFUSED.values(), ids=REFUSED)
def test_an_unsafe_request_is_refused(servers, server, headers):
    answer = send(servers[server], UNSAFE, headers)
    assert is_problem(answer, 403)
    assert "DOPPEL_CORS_ORIGINS" in answer.json()["detail"]
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_every_unsafe_method_is_guarded(servers, method):
    foreign = {"Origin": "https://evil.example"}
    assert is_problem(send(servers["local"], (method, "/models/none"), foreign), 403)


@pytest.mark.parametrize(("server", "headers"), REFUSED.values(), ids=REFUSED)
def test_a_safe_request_may_come_from_anywhere_but_the_page_cannot_read_the_answer(servers, server, headers):
    answer = send(servers[server], SAFE, headers)
    assert is_problem(answer, 404)
    assert "access-control-allow-origin" not in answer.headers


HOSTS = {
    "localhost": {"local", "local with names", "network", "network with names"},
    "LocalHost:1234": {"local", "local with names", "network", "network with names"},
    "127.0.0.1:8000": {"local", "local with names", "network", "network with names"},
    "127.0.0.2": {"local", "local with names", "network", "network with names"},
    "[::1]": {"local", "local with names", "network", "network with names"},
    "[::1]:8000": {"local", "local with names", "network", "network with names"},
    "doppel.lan": {"local with names", "network", "network with names"},
    "Doppel.LAN:8000": {"local with names", "network", "network with names"},
    "a.example.org": {"local with names", "network"},
    "example.org": {"network"},
    "evil.example": {"network"},
    "evil-example.org": {"network"},
    "localhost.evil.example": {"network"},
    "evil.localhost:8000": {"network"},
    "192.168.1.5:8000": {"network"},
    "0.0.0.0:8000": {"network"},
    "evil@localhost": {"network"},
    "localhost/evil": {"network"},
    "localhost:port": {"network"},
    "": {"network"},
}


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize(("host", "accepting"), HOSTS.items(), ids=HOSTS)
def test_only_known_host_names_are_accepted(servers, host, accepting, method):
    for name in ("local", "local with names", "network", "network with names"):
        answer = send(servers[name], (method, "/nothing"), {"Host": host})
        assert is_problem(answer, 404 if name in accepting else 400), name
        if name not in accepting:
            assert "DOPPEL_ALLOWED_HOSTS" in answer.json()["detail"]


def test_a_page_of_an_allowed_origin_can_read_the_answer_and_its_headers(servers):
    for request in (SAFE, UNSAFE):
        answer = send(servers["open to a studio"], request, {"Origin": "https://studio.example"})
        assert answer.headers["access-control-allow-origin"] == "https://studio.example"
        exposed = answer.headers["access-control-expose-headers"].split(", ")
        assert {"Location", "Retry-After", "Server-Timing", "X-Job-Id", "X-Model", "X-Note"} <= set(exposed)


def preflight(client: httpx.Client, origin: str) -> httpx.Response:
    headers = {
        "Origin": origin,
        "Access-Control-Request-Method": "DELETE",
        "Access-Control-Request-Headers": "last-event-id",
        "Access-Control-Request-Private-Network": "true",
    }
    return client.options("/jobs/none", headers=headers)


def test_a_preflight_is_answered_for_allowed_origins_alone(servers):
    allowed = preflight(servers["open to a studio"], "https://studio.example")
    assert allowed.status_code == 200
    assert allowed.headers["access-control-allow-origin"] == "https://studio.example"
    assert "DELETE" in allowed.headers["access-control-allow-methods"]
    assert "last-event-id" in allowed.headers["access-control-allow-headers"].lower()
    for server, origin in (("open to a studio", "https://evil.example"), ("local", "https://studio.example")):
        refused = preflight(servers[server], origin)
        assert is_problem(refused, 403)
        assert "access-control-allow-origin" not in refused.headers


@pytest.mark.parametrize("path", ["/", "/jobs/none/events", "/docs"])
def test_there_is_no_websocket_to_connect_to(servers, path):
    upgrade = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    }
    for headers in ({}, {"Origin": "https://evil.example"}, {"Host": "evil.example"}):
        answer = servers["local"].get(path, headers={**upgrade, **headers})
        assert answer.status_code == servers["local"].get(path, headers=headers).status_code  # as without the upgrade
        assert "upgrade" not in answer.headers


def test_the_settings_are_read_from_comma_separated_variables(monkeypatch):
    monkeypatch.setenv("DOPPEL_ALLOWED_HOSTS", "Doppel.lan, [fe80::1],*.example.org")
    monkeypatch.setenv("DOPPEL_CORS_ORIGINS", "https://Studio.example/,null")
    settings = Settings()
    assert settings.allowed_hosts == ["doppel.lan", "fe80::1", "*.example.org"]
    assert settings.cors_origins == ["https://studio.example", "null"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("allowed_hosts", "http://doppel.lan"),
        ("allowed_hosts", "doppel.lan:8000"),
        ("allowed_hosts", "a.*.lan"),
        ("cors_origins", "studio.example"),
        ("cors_origins", "https://studio.example/app"),
        ("cors_origins", "https://*.example"),
    ],
)
def test_a_setting_that_could_never_match_is_refused(name, value):
    with pytest.raises(ValidationError, match=name):
        Settings(**{name: value})
