"""Serves the dashboard: the files that Vite built, and the page itself for every view path."""

from pathlib import Path
from typing import Final

from aiohttp import web

BUILT: Final = Path(__file__).resolve().parent.parent / "static"
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


def add_dashboard(app: web.Application, folder: Path = BUILT) -> None:
    """Serve the dashboard on every path without another route."""

    async def serve(request: web.Request) -> web.StreamResponse:
        path = request.match_info["path"]
        if path.startswith("api/"):
            raise web.HTTPNotFound
        file = _file(folder, path)
        if file is not None:
            kept = FOREVER if path.startswith("assets/") else "no-cache"
            return web.FileResponse(file, headers={"Cache-Control": kept})
        entry = folder / ENTRY
        if not entry.is_file():
            return web.Response(text=NOT_BUILT, content_type="text/html", status=503)
        if Path(path).suffix:
            raise web.HTTPNotFound  # a missing file: the page in its place would confuse the browser
        return web.FileResponse(entry, headers={"Cache-Control": "no-cache"})

    app.router.add_get("/{path:.*}", serve)


def _file(folder: Path, path: str) -> Path | None:
    """Return the file of a path; None if it does not exist or lies outside the folder."""
    if not path or "\0" in path:
        return None
    file = (folder / path).resolve()
    return file if file.is_file() and file.is_relative_to(folder.resolve()) else None
