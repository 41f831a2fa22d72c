"""GET /docs: Swagger UI from this server's own files, and the OpenAPI document that it loads."""

from fastapi import APIRouter, Request, Response
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse

from app.deps import ServicesDep
from app.negotiation import JSON
from app.openapi import DocumentFiles

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


@router.get("/openapi.json")
async def openapi(request: Request) -> Response:
    """The OpenAPI document, for programs."""
    files: DocumentFiles = request.app.state.document_files
    return Response(files.plain(request.scope.get("root_path", "").rstrip("/")), media_type=JSON)


@router.get("/docs/openapi.json")
def docs_openapi(request: Request, services: ServicesDep) -> Response:
    """The OpenAPI document with the models of this moment, for the drop-downs of /docs alone.

    Where there are API keys the models are not told, since the page loads this without one.
    """
    files: DocumentFiles = request.app.state.document_files
    document = files.with_models_listed(services.catalog) if services.ring is None else files.for_page()
    return Response(document, media_type=JSON)
