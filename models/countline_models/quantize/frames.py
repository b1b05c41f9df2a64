"""Frames of clips, prepared for a model as the data plane does."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from countline_common.display import Displayer, PictureShape
from countline_common.errors import InvalidInputError, NotFoundError
from countline_common.triton.letterbox import Letterbox, Scaler, paste

Frames = NDArray[np.uint8]


def chosen_frames(total: int, calibrating: int, held_out: int) -> tuple[list[int], list[int]]:
    """Numbers of the frames to calibrate on and to test on: spread over the clip, disjoint, at least one of each.

    Args:
        total: frames of the clip, at least 2.
        calibrating: frames to calibrate on; at most half of the clip is used.
        held_out: frames to test on.

    >>> chosen_frames(10, 3, 2)
    ([0, 3, 6], [1, 5])
    """
    count = min(calibrating, total // 2)
    calibrate = [index * total // count for index in range(count)]
    others = sorted(set(range(total)) - set(calibrate))
    count = min(held_out, len(others))
    return calibrate, [others[index * len(others) // count] for index in range(count)]


def count_frames(clip: Path) -> int:
    """Number of frames of a clip, counted by decoding; at least 2. The header may be wrong.

    Raises:
        NotFoundError: there is no such file.
        InvalidInputError: the file is not a video, or has fewer than two frames.
    """
    with _opened(clip) as frames:
        total = sum(1 for _ in frames)
    if total < 2:
        raise InvalidInputError(
            f"{clip} has {'one frame' if total else 'no frames'}",
            hint="give a clip with at least two frames",
        )
    return total


def read_frames(clip: Path, size_wh: tuple[int, int], numbers: Sequence[int], on_frame: Callable[[], None]) -> Frames:
    """Frames of a clip, letterboxed for a model.

    Args:
        clip: a video file.
        size_wh: width and height of the model's input, in pixels.
        numbers: numbers of the frames from 0, ascending.
        on_frame: called for each decoded frame.

    Returns:
        (n, height, width, 3) uint8 RGB.
    """
    width, height = size_wh
    found = np.empty((len(numbers), height, width, 3), np.uint8)
    rows = {number: row for row, number in enumerate(numbers)}
    scaler = Scaler()
    with _opened(clip) as frames:
        for number, frame in enumerate(frames):
            on_frame()
            if number in rows:
                picture, shape = frame
                box = Letterbox(shape.size_wh, size_wh)
                paste(scaler.scale(picture, box), found[rows[number]], padded=False)
            if number >= numbers[-1]:
                break
    return found


@contextmanager
def _opened(clip: Path) -> Iterator[Iterator[tuple[Any, PictureShape]]]:
    """The decoded frames of a clip's first video stream, upright, and their displayed shapes."""
    if not clip.is_file():
        raise NotFoundError(f"there is no clip {clip}", hint="check the path given to --clip")
    try:
        with av.open(str(clip)) as container:
            if not container.streams.video:
                raise InvalidInputError(f"{clip} has no video stream", hint="give a video file")
            yield _displayed(container, container.streams.video[0])
    except (av.error.FFmpegError, OSError) as error:
        raise InvalidInputError(
            f"{clip} cannot be read as a video: {error}", hint="check that another player can play it"
        ) from error


def _displayed(container: Any, stream: Any) -> Iterator[tuple[Any, PictureShape]]:
    displayer = Displayer(stream.sample_aspect_ratio)
    for frame in container.decode(stream):
        yield displayer.show(frame, stream.codec_context.sample_aspect_ratio)
