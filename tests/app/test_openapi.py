"""The OpenAPI document, the page that shows it, and a client that is generated from it."""

import io
import json
import re
import subprocess
import sys
from urllib.parse import urljoin

import pytest
from PIL import Image

from app.main import create_app
from app.settings import Settings
from tests.conftest import add_model
from tests.pictures import landscape
from tests.processes import ROOT

# Generated clients call the operations by these names: add to the list, change nothing.
OPERATIONS = {
    "translate": "POST /translate",
    "translate_by_reference": "POST /stargan/reference",
    "translate_by_latent": "POST /stargan/latent",
    "read_style": "POST /stargan/style",
    "draw_grid": "POST /stargan/grid",
    "film_styles": "POST /stargan/video",
    "paint": "POST /style",
    "read_style_code": "POST /style/code",
    "list_jobs": "GET /jobs",
    "paint_video": "POST /style/video",
    "read_job": "GET /jobs/{id}",
    "read_job_image": "GET /jobs/{id}/image",
    "read_job_events": "GET /jobs/{id}/events",
    "cancel_job": "DELETE /jobs/{id}",
    "verify": "POST /verify",
    "read_root_certificate": "GET /verify/root",
    "list_models": "GET /models",
    "add_model": "POST /models",
    "read_model": "GET /models/{name}",
    "read_model_sample": "GET /models/{name}/sample",
    "fetch_model": "POST /models/{name}/fetch",
    "export_model": "GET /models/{name}/archive",
    "roll_back_model": "POST /models/{name}/rollback",
    "remove_model": "DELETE /models/{name}",
    "upload_dataset": "POST /datasets",
    "list_datasets": "GET /datasets",
    "read_dataset": "GET /datasets/{name}",
    "preview_dataset": "GET /datasets/{name}/preview",
    "remove_dataset": "DELETE /datasets/{name}",
    "train_cyclegan": "POST /training/cyclegan",
    "train_cut": "POST /training/cut",
    "train_stargan": "POST /training/stargan",
    "list_runs": "GET /training",
    "read_run": "GET /training/{id}",
    "read_run_metrics": "GET /training/{id}/metrics",
    "plot_run_curves": "GET /training/{id}/curves.png",
    "list_run_samples": "GET /training/{id}/samples",
    "read_run_sample": "GET /training/{id}/samples/{step}",
    "read_run_sample_rows": "GET /training/{id}/samples/{step}/rows",
    "read_run_log": "GET /training/{id}/log",
    "read_run_events": "GET /training/{id}/events",
    "stop_run": "POST /training/{id}/stop",
    "resume_run": "POST /training/{id}/resume",
    "remove_run": "DELETE /training/{id}",
    "publish_run": "POST /training/{id}/publish",
    "compare_runs": "POST /training/compare",
    "list_comparisons": "GET /training/compare",
    "read_comparison": "GET /training/compare/{id}",
    "read_comparison_picture": "GET /training/compare/{id}/picture",
    "read_comparison_video": "GET /training/compare/{id}/video",
    "stop_comparison": "POST /training/compare/{id}/stop",
    "remove_comparison": "DELETE /training/compare/{id}",
    "read_status": "GET /status",
    "read_metrics": "GET /metrics",
    "check_alive": "GET /healthz",
    "check_ready": "GET /readyz",
}

FILE = {"type": "string", "format": "binary"}
FILES = {"type": "array", "items": FILE}
UPLOADS = {
    ("/translate", "image"): FILE,
    ("/translate", "reference"): FILE,
    ("/style", "image"): FILE,
    ("/style", "style"): FILES,
    ("/style/code", "style"): FILES,
    ("/style/video", "video"): FILE,
    ("/style/video", "style"): FILES,
    ("/verify", "image"): FILE,
    ("/stargan/reference", "image"): FILE,
    ("/stargan/reference", "reference"): FILE,
    ("/stargan/latent", "image"): FILE,
    ("/stargan/style", "image"): FILE,
    ("/stargan/grid", "sources"): FILES,
    ("/stargan/grid", "references"): FILES,
    ("/stargan/video", "sources"): FILES,
    ("/stargan/video", "references"): FILES,
    ("/datasets", "archive"): FILE,
    ("/models", "file"): FILE,
}
PICTURE_TYPES = ["image/png", "image/jpeg", "image/webp"]


@pytest.fixture(scope="module")
def document(tmp_path_factory):
    app = create_app(Settings(redis_url="redis://127.0.0.1:1", data_dir=tmp_path_factory.mktemp("var")))
    return json.loads(json.dumps(app.openapi()))


def operations(document):
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield f"{method.upper()} {path}", operation


def form(document, path):
    """The schema of the multipart form that a path takes."""
    schema = document["paths"][path]["post"]["requestBody"]["content"]["multipart/form-data"]["schema"]
    return document["components"]["schemas"][schema["$ref"].removeprefix("#/components/schemas/")]


def test_the_document_is_valid(document):
    import openapi_spec_validator

    openapi_spec_validator.validate(document)


def test_without_api_keys_the_document_asks_for_none(document):
    assert "securitySchemes" not in document["components"]
    assert not [name for name, operation in operations(document) if "security" in operation]


def test_the_served_document_is_the_same_for_every_catalog(client, document):
    assert client.get("/openapi.json").json() == document


def test_the_operations_have_their_fixed_names(document):
    assert {operation["operationId"]: name for name, operation in operations(document)} == OPERATIONS


def test_every_upload_is_a_file(document):
    forms = {path: form(document, path) for path, _ in UPLOADS}
    for (path, name), schema in UPLOADS.items():
        field = forms[path]["properties"][name]
        assert {key: field[key] for key in field if key not in ("title", "description")} == schema, f"{path} {name}"
    assert str(document["components"]).count("binary") == len(UPLOADS)
    assert forms["/stargan/grid"]["required"] == ["sources"]
    assert "contentMediaType" not in str(document)


def test_a_form_field_is_never_null(document):
    for path, _ in UPLOADS:
        assert "null" not in str(form(document, path)), path


def test_a_model_is_any_name_to_a_generated_client_and_a_drop_down_in_the_docs(client, settings):
    def field(address, path):
        return form(client.get(address).json(), path)["properties"]["model"]

    for path in ("/translate", "/stargan/reference"):
        assert field("/openapi.json", path)["type"] == "string"
        assert "enum" not in field("/openapi.json", path)
        assert field("/openapi.json", path)["examples"]
    assert field("/docs/openapi.json", "/translate")["enum"] == ["borrower", "missing", "tiny"]
    assert field("/docs/openapi.json", "/stargan/reference")["enum"] == [""]
    add_model(settings.data_dir / "models", "new", ready=True)
    assert "new" in field("/docs/openapi.json", "/translate")["enum"]
    assert "enum" not in field("/openapi.json", "/translate")


@pytest.mark.parametrize(
    ("path", "types"),
    {
        "/translate": PICTURE_TYPES,
        "/stargan/reference": PICTURE_TYPES,
        "/stargan/latent": PICTURE_TYPES,
        "/stargan/grid": [*PICTURE_TYPES, "application/zip"],
        "/stargan/video": ["video/mp4", "image/webp"],
    }.items(),
)
def test_a_result_is_a_file_or_the_job(document, path, types):
    content = document["paths"][path]["post"]["responses"]["200"]["content"]
    assert content.pop("application/json") == {"schema": {"$ref": "#/components/schemas/Job"}}
    assert content == {media_type: {"schema": FILE} for media_type in types}


@pytest.mark.parametrize("path", ["/jobs/{id}/events", "/training/{id}/events"])
def test_an_event_stream_is_text(document, path):
    success = document["paths"][path]["get"]["responses"]["200"]
    assert success["content"] == {"text/event-stream": {"schema": {"type": "string"}}}
    assert "event" in success["description"]


def test_every_error_answer_is_named_as_a_problem_document(document):
    assert "HTTPValidationError" not in str(document)
    named = dict(operations(document))
    assert set(named["POST /translate"]["responses"]) == {"200", "202", "406", "409", "413", "422", "500", "503"}
    for name, operation in named.items():
        assert operation["summary"], name
        assert operation["description"], name
        for status, answer in operation["responses"].items():
            if status.startswith("4") or status == "503":
                assert set(answer["content"]) == {"application/problem+json"}, f"{name} {status}"


def test_an_upload_by_a_generated_client_gives_a_png(service, document, tmp_path):
    (tmp_path / "openapi.json").write_text(json.dumps(document))
    config = (ROOT / "docs/openapi-python-client.yml").read_text()
    (tmp_path / "openapi-python-client.yml").write_text(config + "post_hooks: []\n")  # no formatting of the code
    page = (ROOT / "docs/clients.md").read_text()
    [options] = re.findall(r"^\$ openapi-python-client (.*)$", page, re.MULTILINE)
    command = [sys.executable, "-m", "openapi_python_client", *options.split()]
    generated = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "WARNING" not in generated.stdout + generated.stderr, generated.stdout
    names = {path.stem for path in (tmp_path / "client/api").glob("*/*.py")} - {"__init__"}
    assert names == set(OPERATIONS)

    landscape(64, 48).save(tmp_path / "photo.jpg")
    [script] = re.findall(r"^```py\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    script = script.replace("http://localhost:8000", str(service.base_url).rstrip("/")).replace("style_monet", "tiny")
    (tmp_path / "upload.py").write_text(script)
    subprocess.run([sys.executable, "upload.py"], cwd=tmp_path, check=True)
    with Image.open(io.BytesIO((tmp_path / "painted.png").read_bytes())) as picture:
        assert (picture.format, picture.size) == ("PNG", (64, 48))


def test_the_docs_page_needs_nothing_from_elsewhere(client):
    page = client.get("/docs").text
    assert "url: 'docs/openapi.json'" in page
    addresses = [urljoin("/docs", link) for link in re.findall(r"""(?:src|href)=["']([^"']+)""", page)]
    assert addresses
    assert all(address.startswith("/") for address in addresses), addresses
    assert all(client.get(address).status_code == 200 for address in addresses)


def test_the_docs_page_works_behind_a_path_prefix(client):
    """A proxy that serves this at /doppel/docs: every link and every call must stay below /doppel/."""
    page = client.get("/docs").text
    links = re.findall(r"""(?:src|href)=["']([^"']+)""", page)
    assert all(urljoin("/doppel/docs", link).startswith("/doppel/") for link in links), links
    server = client.get("/docs/openapi.json").json()["servers"][0]["url"]
    assert urljoin("/doppel/docs/openapi.json", server) == "/doppel/"


def test_an_unknown_path_is_a_problem_document(client):
    answer = client.get("/nothing")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert client.put("/translate").status_code == 405
