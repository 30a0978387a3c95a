"""The documentation page: Swagger UI from files of this package, so that it works without internet.

Open it to change how the page is served.
"""

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import FileResponse, RedirectResponse, Response

FOLDER = Path(__file__).parent / "swagger"
SERVED = {"swagger-ui.css", "swagger-ui-bundle.js", "start.js", "favicon.svg"}
HEADERS = {
    # Swagger UI sets style attributes and has icons as data: URLs. Its scripts and all requests stay on this server.
    "Content-Security-Policy": "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; object-src 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
}

router = APIRouter(include_in_schema=False)


@router.get("/docs")
async def page() -> Response:
    """The documentation page."""
    return FileResponse(FOLDER / "index.html", headers={**HEADERS, "Cache-Control": "no-cache"})


@router.get("/docs/{name}")
async def file(name: str) -> Response:
    """A file of the page."""
    if name not in SERVED:
        raise HTTPException(404)
    return FileResponse(FOLDER / name, headers={**HEADERS, "Cache-Control": "max-age=3600"})


@router.get("/openapi.json")
def openapi(request: Request) -> Response:
    """The OpenAPI document; built at the first request, outside the event loop, and kept as JSON."""
    return Response(request.app.state.openapi_json(), media_type="application/json")


@router.get("/redoc")
async def former_page() -> Response:
    """A redirect from the address of an earlier documentation page."""
    return RedirectResponse("docs")
