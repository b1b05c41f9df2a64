"""Serves the dashboard: the page, and the files that Vite built."""

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from pathlib import Path
from typing import Final

from aiohttp import web

BUILT: Final = Path(__file__).resolve().parent.parent / "static"
METHODS: Final = ("GET", "HEAD")
ENTRY: Final = "index.html"
FOREVER: Final = "public, max-age=31536000, immutable"
"""For files whose names change with their content."""
NOT_BUILT: Final = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Countline</title>
<body>
<h1>The dashboard is not built</h1>
<p>Everything else runs: REST under <a href="/api/v1/openapi.json">/api/v1/</a>, live counts under /ws.</p>
<p>Run <code>make dashboard</code> in the source tree, then reload this page.</p>
</body></html>
"""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def add_dashboard(app: web.Application) -> None:
    """Serve the page and its files on paths that no route of the application matches."""

    @web.middleware
    async def serve(request: web.Request, handler: Handler) -> web.StreamResponse:
        unmatched = request.match_info.http_exception
        if unmatched is None or unmatched.status != HTTPStatus.NOT_FOUND:
            return await handler(request)
        path = request.path.removeprefix("/")
        file = _file(BUILT, path or ENTRY)
        if file is None and path:
            return await handler(request)
        if request.method not in METHODS:
            raise web.HTTPMethodNotAllowed(request.method, METHODS)
        if file is None:
            return web.Response(text=NOT_BUILT, content_type="text/html", status=HTTPStatus.SERVICE_UNAVAILABLE)
        kept = FOREVER if path.startswith("assets/") else "no-cache"
        return web.FileResponse(file, headers={"Cache-Control": kept})

    app.middlewares.append(serve)


def _file(folder: Path, path: str) -> Path | None:
    """Return the file of a path; None if it does not exist or lies outside the folder."""
    try:
        file = (folder / path).resolve()
        return file if file.is_file() and file.is_relative_to(folder.resolve()) else None
    except (OSError, ValueError):  # a name that no file system takes: too long, or with a NUL
        return None
