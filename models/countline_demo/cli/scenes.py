"""`countline models render-demo` and `countline models render`: scenes as video files."""

import json
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from multiprocessing import get_context
from multiprocessing.queues import SimpleQueue
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from countline_common.cli.terminal import progress_bar
from countline_common.cli.tools import say
from countline_common.errors import InvalidInputError

Notes = SimpleQueue[tuple[str, int, int]]
"""Name of a clip, finished frames, all frames."""
REPORT_EVERY: Final = 10
"""A rendering process reports progress once in so many frames."""


def render_demo(
    out: Annotated[Path, typer.Option(help="Folder for the clips.")],
    only: Annotated[list[str] | None, typer.Option(help="Name of one clip; repeatable. Default: all.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    processes: Annotated[int, typer.Option(min=1, help="Number of clips to render in parallel.")] = 2,
) -> None:
    """Render the clips of the demo cameras and their true crossings.

    Clips that the folder already has are kept. Other files with the names of clips are never replaced.

    Example: countline models render-demo --out clips
    """
    from countline_demo.scenes.clips import CLIPS
    from countline_demo.scenes.render import check_folder, is_rendered

    names = list(only or CLIPS)
    for name in names:
        if name not in CLIPS:
            raise InvalidInputError(f"unknown demo clip {name!r}", hint=f"choose one of: {', '.join(CLIPS)}")
    out.mkdir(parents=True, exist_ok=True)
    missing = [name for name in names if not is_rendered(out, name)]
    for name in missing:
        check_folder(out, name)
    for name in names:
        if name not in missing:
            _report_clip(json.loads((out / f"{name}.json").read_text(encoding="utf-8")), out, as_json=as_json)
    if missing:
        _render_missing(missing, out, processes, as_json=as_json)


def _report_clip(described: dict[str, Any], out: Path, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps({**described, "path": str((out / described["clip"]).resolve())}), flush=True)
    else:
        say(f"{out / described['clip']}: {described['duration_s']:g} s, {len(described['truth'])} crossings")


def _render_missing(names: list[str], out: Path, processes: int, *, as_json: bool) -> None:
    """Render each clip in a process of its own and report it when it is complete."""
    context = get_context("spawn")
    notes: Notes = context.SimpleQueue()
    bar = progress_bar()
    with ProcessPoolExecutor(processes, mp_context=context, initializer=_begin, initargs=(notes,)) as pool, bar:
        tasks = {name: bar.add_task(f"rendering {name}", total=None) for name in names}
        running: set[Future[dict[str, Any]]] = {pool.submit(_render_one, out, name) for name in names}
        while running:
            finished, running = wait(running, timeout=0.2, return_when=FIRST_COMPLETED)
            while not notes.empty():
                name, done, frames = notes.get()
                bar.update(tasks[name], completed=done, total=frames)
            for future in finished:
                _report_clip(future.result(), out, as_json=as_json)


_notes: Notes | None = None
"""Queue to which a rendering process reports progress; set once, when the process starts."""


def _begin(notes: Notes) -> None:
    global _notes  # noqa: PLW0603  (the only way to hand a queue to the processes of a pool)
    _notes = notes


def _render_one(out: Path, name: str) -> dict[str, Any]:
    """Render one clip; runs in a process of the pool."""
    from countline_demo.scenes.render import render_clip

    def progress(done: int, frames: int) -> None:
        if _notes is not None and (done % REPORT_EVERY == 0 or done == frames):
            _notes.put((name, done, frames))

    return render_clip(out, name, progress)


def render(
    seed: Annotated[int, typer.Option(min=0, help="Seed of the place, the light and the traffic.")],
    view: Annotated[str, typer.Option(help="plaza, entrance, street or crossing.")],
    out: Annotated[Path, typer.Option(help="Video to write (.mp4), or one picture (.png).")],
    boxes: Annotated[bool, typer.Option("--boxes", help="Draw the true boxes.")] = False,
) -> None:
    """Render a random scene of the kind that the demo detector is trained on.

    Example: countline models render --seed 7 --view plaza --out plaza.mp4 --boxes
    """
    from countline_demo.scenes.places import PLACES
    from countline_demo.scenes.render import render_scene
    from countline_demo.scenes.traffic import random_scene

    if view not in PLACES:
        raise InvalidInputError(f"unknown view {view!r}", hint=f"choose one of: {', '.join(PLACES)}")
    with progress_bar() as bar:
        task = bar.add_task("rendering", total=None)
        render_scene(
            random_scene(view, seed),
            out,
            boxes=boxes,
            progress=lambda n, total: bar.update(task, completed=n, total=total),
        )
    say(str(out))
