"""The dashboard: files that Vite has built, and the page itself for every path that is a view of it."""

from pathlib import Path
from typing import Final

from aiohttp import web

BUILT: Final = Path(__file__).resolve().parent.parent / "static"
ENTRY: Final = "index.html"
FOREVER: Final = "public, max-age=31536000, immutable"
"""For files whose names change with what is in them."""
NOT_BUILT: Final = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Countline</title>
<body>
<h1>The dashboard is not built</h1>
<p>Everything else runs: REST is under <a href="/api/v1/openapi.json">/api/v1/</a>, live counts under /ws.</p>
<p>To build the dashboard: <code>make dashboard</code> in the source tree; then load this page again.</p>
</body></html>
"""


def add_dashboard(app: web.Application, folder: Path = BUILT) -> None:
    """Serve the dashboard on every path that nothing else is on."""

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
            raise web.HTTPNotFound  # a file that is missing; a page in its place would only puzzle the browser
        return web.FileResponse(entry, headers={"Cache-Control": "no-cache"})

    app.router.add_get("/{path:.*}", serve)


def _file(folder: Path, path: str) -> Path | None:
    """The file of a path; None where there is none, or where it would lie outside."""
    if not path or "\0" in path:
        return None
    file = (folder / path).resolve()
    return file if file.is_file() and file.is_relative_to(folder.resolve()) else None
