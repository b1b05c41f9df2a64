"""Writes scenes to files: demo clips with their truth, and single scenes."""

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from countline_common.errors import AlreadyExistsError
from countline_common.files.output_files import OutputFiles
from countline_demo.scenes.clips import CLIPS, TIME_ZONE, VERSION, DemoClip
from countline_demo.scenes.scene import CLASSES, Renderer, Scene, SceneFrame
from countline_demo.scenes.truth import true_crossings
from countline_demo.scenes.video import write_video

Progress = Callable[[int, int], None]
"""Called with the number of finished frames and of all frames."""


def describe(clip: DemoClip) -> dict[str, Any]:
    """The content of the JSON file beside a demo clip."""
    scene = clip.scene
    return {
        "version": VERSION,
        "name": clip.name,
        "title": clip.title,
        "clip": f"{clip.name}.mp4",
        "fps": float(scene.fps),
        "frames": scene.frames,
        "duration_s": scene.period_s,
        "size": list(scene.camera.size_wh),
        "site_time_zone": TIME_ZONE,
        "classes": list(CLASSES),
        "lines": [{"id": line.id, "points": [list(point) for point in line.points]} for line in clip.lines],
        "zones": [{"id": zone.id, "polygon": [list(point) for point in zone.polygon]} for zone in clip.zones],
        "truth": [
            {**asdict(crossing), "t": round(crossing.t, 3), "class": CLASSES[crossing.class_id]}
            for crossing in true_crossings(scene, clip.lines)
        ],
    }


def is_rendered(folder: Path, name: str) -> bool:
    """Whether the folder has this version of a demo clip, complete."""
    return _described_version(folder, name) == VERSION and (folder / f"{name}.mp4").is_file()


def check_folder(folder: Path, name: str) -> None:
    """Check that `render_clip` would replace only files in the folder that it wrote.

    Raises:
        AlreadyExistsError: a file of the clip's names is there, and `render_clip` did not write it.
    """
    if _described_version(folder, name) is not None:
        return
    for path in (folder / f"{name}.mp4", folder / f"{name}.json"):
        if path.exists() or path.is_symlink():
            raise AlreadyExistsError(
                f"{path} already exists, and this command did not render it",
                hint="name another folder with --out, or move the file away; nothing was changed",
            )


def _described_version(folder: Path, name: str) -> int | None:
    """Return the version in the description of a clip in the folder; None if there is no description of this clip."""
    try:
        found = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
        version = found["version"] if found["name"] == name and "truth" in found else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return version if isinstance(version, int) else None


def render_clip(folder: Path, name: str, progress: Progress) -> dict[str, Any]:
    """Write `<name>.mp4` and `<name>.json`; returns the content of the JSON file.

    A folder without a description gets it first, so that an interrupted call leaves no video that `check_folder`
    would take for a file of the user. An old description is replaced last, because a new one shows that the video is
    complete.

    Raises:
        AlreadyExistsError: as `check_folder`.
    """
    check_folder(folder, name)
    clip = CLIPS[name]()
    described = describe(clip)
    is_new = _described_version(folder, name) is None
    if is_new:
        _write_description(folder, described)
    write_video(folder / f"{name}.mp4", _pictures(clip.scene, progress), clip.scene.camera.size_wh, clip.scene.fps)
    if not is_new:
        _write_description(folder, described)
    return described


def _write_description(folder: Path, described: dict[str, Any]) -> None:
    with OutputFiles() as outputs:
        file = outputs.open("--out", folder / f"{described['name']}.json", makes_folder=True)
        file.write(f"{json.dumps(described, indent=1)}\n".encode())


def _pictures(scene: Scene, progress: Progress) -> Iterator[NDArray[np.uint8]]:
    renderer = Renderer(scene)
    for index in range(scene.frames):
        yield renderer.frame(index).pixels
        progress(index + 1, scene.frames)


def render_scene(scene: Scene, path: Path, *, boxes: bool, progress: Progress) -> None:
    """Write one period of a scene as a video, or its middle picture (.png), with the true boxes on request."""
    renderer = Renderer(scene)
    if path.suffix == ".png":
        with OutputFiles() as outputs:
            output = outputs.open("--out", path)
            with output.errors():
                Image.fromarray(_shown(renderer.frame(scene.frames // 2), boxes=boxes)).save(output.file, "PNG")
        return

    def pictures() -> Iterator[NDArray[np.uint8]]:
        for index in range(scene.frames):
            yield _shown(renderer.frame(index), boxes=boxes)
            progress(index + 1, scene.frames)

    write_video(path, pictures(), scene.camera.size_wh, scene.fps)


def _shown(frame: SceneFrame, *, boxes: bool) -> NDArray[np.uint8]:
    """The picture, with boxes on request; the less of an object is visible, the darker its box."""
    if not boxes:
        return frame.pixels
    picture = Image.fromarray(frame.pixels)
    pen = ImageDraw.Draw(picture)
    for found in frame.objects:
        seen = round(255 * max(0.25, found.visible))
        pen.rectangle(found.box, outline=(seen, 40, 40) if found.class_id == 0 else (40, seen, 40))
        pen.text((found.box[0] + 2, found.box[1]), f"{found.id} {found.visible:.0%}", fill=(255, 255, 255))
    return np.asarray(picture)
