"""GET /docs: Swagger UI from this server's own files, and the OpenAPI document that it loads."""

from typing import Any

from fastapi import APIRouter, Request
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse

from app.deps import ServicesDep
from app.openapi import with_models_listed

router = APIRouter(include_in_schema=False)


@router.get("/docs")
def docs(request: Request) -> HTMLResponse:
    """Swagger UI. Its links are relative, so that they also work behind a reverse proxy that adds a path prefix."""
    return get_swagger_ui_html(
        openapi_url="docs/openapi.json",
        title=request.app.title,
        swagger_js_url="static-offline-docs/swagger-ui-bundle.js",
        swagger_css_url="static-offline-docs/swagger-ui.css",
        swagger_favicon_url="static-offline-docs/favicon.png",
        swagger_ui_parameters={"tryItOutEnabled": True, "displayRequestDuration": True},
    )


@router.get("/docs/openapi.json")
def docs_openapi(request: Request, services: ServicesDep) -> dict[str, Any]:
    """The OpenAPI document with the models of this moment, for the drop-downs of /docs alone."""
    document = with_models_listed(request.app.openapi(), services.catalog)
    return {**document, "servers": [{"url": "..", "description": "this server"}]}  # relative to this document
