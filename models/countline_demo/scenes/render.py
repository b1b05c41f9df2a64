"""Writes scenes to files: demo clips with their truth, and single scenes."""

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

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
    try:
        found = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return bool(found.get("version") == VERSION and (folder / f"{name}.mp4").is_file())


def render_clip(folder: Path, name: str, progress: Progress) -> dict[str, Any]:
    """Write `<name>.mp4` and then `<name>.json`; returns the content of the JSON file."""
    clip = CLIPS[name]()
    described = describe(clip)
    write_video(folder / f"{name}.mp4", _pictures(clip.scene, progress), clip.scene.camera.size_wh, clip.scene.fps)
    with OutputFiles() as outputs:
        outputs.open("--out", folder / f"{name}.json").write(f"{json.dumps(described, indent=1)}\n".encode())
    return described


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
