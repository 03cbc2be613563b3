"""The API's reference at /docs. The page loads its scripts from this service and from nowhere else.

FastAPI's own page would ask a public host for them: it shows nothing behind a firewall, and tells that host
who reads it.
"""

from importlib.resources import files
from pathlib import Path

from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from starlette.requests import Request
from starlette.responses import HTMLResponse
from starlette.staticfiles import StaticFiles

ASSETS = Path(str(files("fastapi_swagger") / "resources"))  # Swagger UI 5, as that package carries it


def serve_documentation(app: FastAPI) -> None:
    """Add /docs, and what it loads below /docs/assets."""
    app.mount("/docs/assets", StaticFiles(directory=ASSETS), name="documentation_assets")

    @app.get("/docs", include_in_schema=False)
    async def documentation(request: Request) -> HTMLResponse:
        root = request.scope.get("root_path", "")
        return get_swagger_ui_html(
            openapi_url=f"{root}{app.openapi_url}",
            title="Lethe",
            swagger_js_url=f"{root}/docs/assets/swagger-ui-bundle.js",
            swagger_css_url=f"{root}/docs/assets/swagger-ui.css",
            swagger_favicon_url=f"{root}/docs/assets/favicon-32x32.png",
            swagger_ui_parameters={"filter": True},
        )
