"""The OpenAPI document: FastAPI's, with the catalog's models as they are now for the drop-down."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from app.errors import MEDIA_TYPE
from app.schemas import ProblemDetails
from models.store.catalog import Catalog

SUMMARY = "Image-to-image translation: a photo in, a painting out."
TAGS = [{"name": name} for name in ("translate", "stargan", "jobs", "models", "datasets", "training", "health")]
DESCRIPTION = """
Send a picture and a model's name to `POST /translate` and get the translated picture. For a model of your own, send a
zip of pictures to `POST /datasets`, start a run with `POST /training/cyclegan` or `/stargan`, and put its result into
service with `POST /training/{id}/publish`.

Every error is an [RFC 9457](https://www.rfc-editor.org/rfc/rfc9457) document of type `application/problem+json` whose
`detail` says what was wrong and what is accepted. Every picture that leaves is marked as generated (IPTC
`compositeWithTrainedAlgorithmicMedia`).
"""


def install_openapi(app: FastAPI, catalog: Catalog) -> None:
    """Have ``app`` describe itself anew at each request, since models come and go without a restart."""

    def openapi() -> dict[str, Any]:
        document = get_openapi(
            title=app.title,
            version=app.version,
            summary=app.summary,
            description=app.description,
            routes=app.routes,
            tags=app.openapi_tags,
        )
        schemas = document["components"]["schemas"]
        for name, schema in schemas.items():
            if name.startswith("Body_") and "model" in schema["properties"]:
                schema["properties"]["model"]["enum"] = _choice(catalog, name)
        _describe_validation_errors(document)
        return document

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way to extend the document


def _choice(catalog: Catalog, body: str) -> list[str]:
    """The models that a call takes; the empty name leaves the choice to us."""
    if "_stargan_" not in body:
        return catalog.names()
    return ["", *(model.name for model in catalog.all() if model.card.family == "stargan_v2")]


def _describe_validation_errors(document: dict[str, Any]) -> None:
    """Replace FastAPI's 422, which our handler never sends, by the problem document that it does."""
    schemas = document["components"]["schemas"]
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    schemas["ProblemDetails"] = ProblemDetails.model_json_schema()
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemDetails"}}}
    for path in document["paths"].values():
        for operation in path.values():
            for status, answer in operation["responses"].items():
                if status == "422" or MEDIA_TYPE in answer.get("content", {}):
                    answer["content"] = content
