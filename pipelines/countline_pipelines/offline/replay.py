"""Recorded detections or tracks, read frame by frame.

Two formats: `jsonl`, one frame a line, `{"t": seconds, "objects": [{"id", "box": [x1, y1, x2, y2] in pixels, "score",
"class"}]}`; and `mot`, the text of MOTChallenge, `frame, id, x, y, w, h, score, ...`, frames numbered from 1.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from countline_common.errors import InvalidInputError
from countline_common.files.text_files import read_lines
from countline_common.untrusted_json import parse_json
from countline_counting.frames import DetectionFrame, TrackedFrame


@dataclass(frozen=True, slots=True)
class RecordedFrame:
    """One frame of a recording."""

    index: int
    t: float
    ids: NDArray[np.int64] | None
    """(N,), or None if objects have no ids."""
    detections: NDArray[np.float64]
    """(N, 6): x1, y1, x2, y2 in pixels, score, class."""

    def as_tracks(self, camera_id: str, size_wh: tuple[int, int]) -> TrackedFrame:
        """Return the frame with ids as given."""
        assert self.ids is not None
        table = self.detections
        return TrackedFrame(
            camera_id, self.index, self.t, size_wh, self.ids, table[:, :4], table[:, 4], table[:, 5].astype(np.int64)
        )

    def as_detections(self, camera_id: str, size_wh: tuple[int, int]) -> DetectionFrame:
        """Return the frame without ids."""
        return DetectionFrame(camera_id, self.index, self.t, size_wh, self.detections.astype(np.float32))


def read_jsonl(path: Path, *, with_ids: bool) -> Iterator[RecordedFrame]:
    """Read frames from JSON lines.

    Raises:
        InvalidInputError: a line is not a frame; the message names file, line and field.
    """
    numbered = ((number, line) for number, line in enumerate(read_lines(path), 1) if line.strip())
    for index, (number, line) in enumerate(numbered):
        try:
            yield _frame_of(parse_json(line), index, with_ids=with_ids)
        except (ValueError, KeyError, TypeError) as error:
            raise InvalidInputError(
                f"{path}, line {number}: {_reason(error)}",
                hint='{"t": 0.0, "objects": [{"id": 1, "box": [x1, y1, x2, y2], "score": 0.9, "class": 0}]}',
            ) from error


def _reason(error: Exception) -> str:
    return f"the field {error} is missing" if isinstance(error, KeyError) else str(error)


def _frame_of(record: dict[str, Any], index: int, *, with_ids: bool) -> RecordedFrame:
    t = float(record["t"])
    if not math.isfinite(t):
        raise ValueError(f"t is {t}")
    objects = record["objects"]
    rows = [_row_of(item) for item in objects]
    ids = [int(item["id"]) for item in objects] if with_ids else None
    if ids is not None and len(set(ids)) < len(ids):
        raise ValueError("an id occurs twice")
    table = np.array(rows, dtype=np.float64).reshape(-1, 6)
    return RecordedFrame(index, t, None if ids is None else np.array(ids, dtype=np.int64), table)


def _row_of(item: dict[str, Any]) -> list[float]:
    box = [float(value) for value in item["box"]]
    if len(box) != 4 or not all(map(math.isfinite, box)):
        raise ValueError(f"box {item['box']} is not four numbers")
    if box[2] < box[0] or box[3] < box[1]:
        raise ValueError(f"box {item['box']} ends before it begins")
    return [*box, _number(item, "score", 1.0), _number(item, "class", 0.0)]


def _number(item: dict[str, Any], field: str, default: float) -> float:
    value = item.get(field, default)
    try:
        return float(value)
    except (TypeError, ValueError):
        raise ValueError(f"{field} must be a number, got {value!r}") from None


def read_mot(path: Path, *, fps: float, with_ids: bool) -> Iterator[RecordedFrame]:
    """Read frames from MOTChallenge text. Frames without a row are empty, up to the last frame with one.

    Raises:
        InvalidInputError: a row is not valid; the message names file and line.
    """
    by_frame: dict[int, list[tuple[int, list[float]]]] = {}
    for number, line in enumerate(read_lines(path), 1):
        if line.strip():
            try:
                frame, raw_id, row = _mot_row(line)
            except ValueError as error:
                raise InvalidInputError(
                    f"{path}, line {number}: {error}",
                    hint="frame, id, x, y, width, height, score, ... with frames from 1",
                ) from error
            by_frame.setdefault(frame, []).append((raw_id, row))
    for frame in range(1, max(by_frame, default=0) + 1):
        items = by_frame.get(frame, [])
        ids = np.array([raw_id for raw_id, _ in items], dtype=np.int64) if with_ids else None
        table = np.array([row for _, row in items], dtype=np.float64).reshape(-1, 6)
        yield RecordedFrame(frame - 1, (frame - 1) / fps, ids, table)


def _mot_row(line: str) -> tuple[int, int, list[float]]:
    values = [float(value) for value in line.split(",")]
    if len(values) < 6:
        raise ValueError(f"{len(values)} values, at least 6 are needed")
    frame, raw_id, x, y, width, height = values[:6]
    if frame < 1 or frame != int(frame):
        raise ValueError(f"{frame:g} is no frame number")
    if not all(map(math.isfinite, values[:6])) or width < 0 or height < 0:
        raise ValueError("the box is not finite, or of negative size")
    score = values[6] if len(values) > 6 else 1.0
    return int(frame), int(raw_id), [x, y, x + width, y + height, score, 0.0]
