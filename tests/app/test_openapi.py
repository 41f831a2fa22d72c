"""What the service says of itself, and the page that shows it."""

import re

from tests.conftest import add_model


def operations(document):
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield f"{method.upper()} {path}", operation


def test_the_model_drop_down_holds_the_catalog_as_it_is_now(client, settings):
    def choices():
        schemas = client.get("/openapi.json").json()["components"]["schemas"]
        return schemas["Body_translate_translate_post"]["properties"]["model"]["enum"]

    assert choices() == ["borrower", "missing", "tiny"]
    add_model(settings.data_dir / "models", "new", ready=True)
    assert "new" in choices()


def test_the_picture_is_a_file_picker_and_comes_back_as_a_picture(client):
    document = client.get("/openapi.json").json()
    image = document["components"]["schemas"]["Body_translate_translate_post"]["properties"]["image"]
    assert image.get("format") == "binary" or image.get("contentMediaType") == "application/octet-stream"
    answers = document["paths"]["/translate"]["post"]["responses"]
    assert set(answers["200"]["content"]) == {"image/png", "image/jpeg", "image/webp"}


def test_every_error_answer_is_named_as_a_problem_document(client):
    document = client.get("/openapi.json").json()
    assert "HTTPValidationError" not in str(document)
    named = dict(operations(document))
    assert set(named["POST /translate"]["responses"]) == {"200", "202", "406", "409", "413", "422", "500", "503"}
    for name, operation in named.items():
        assert operation["summary"], name
        for status, answer in operation["responses"].items():
            if status.startswith("4") or status == "503":
                assert set(answer["content"]) == {"application/problem+json"}, f"{name} {status}"


def test_the_docs_page_needs_nothing_from_elsewhere(client):
    page = client.get("/docs").text
    links = re.findall(r"""(?:src|href)=["']([^"']+)""", page)
    assert links
    assert all(link.startswith("/") for link in links), links
    assert all(client.get(link).status_code == 200 for link in links)


def test_an_unknown_path_is_a_problem_document(client):
    answer = client.get("/nothing")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert client.put("/translate").status_code == 405
