"""One frame in flight, and the receiver of Triton's answer."""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from countline_common.errors import CountlineError
from countline_common.triton.letterbox import Letterbox
from countline_pipelines.planes.runs import Run


class Traveller(Protocol):
    """Sends frames to one model and receives the answers: one model's share of a camera."""

    @property
    def owner(self) -> str:
        """A name among the users of a lane. Cameras take turns, and each camera may have several models."""
        ...

    @property
    def is_counting(self) -> bool:
        """Whether the camera's counts need the answers; a version that warms up or is on trial may do without."""
        ...

    def next_sequence(self) -> int:
        """Number of the next frame that goes to Triton, from 0."""
        ...

    def arrived(self, ticket: "Ticket", detections: NDArray[np.float32]) -> None:
        """Take an answer, (max_detections, 6), in pixels of the model's input. Answers may come out of order."""
        ...

    def refused(self, ticket: "Ticket", error: CountlineError) -> None:
        """Triton refuses this frame for good."""
        ...


@dataclass(slots=True)
class Ticket:
    """One frame in flight."""

    traveller: Traveller
    run: Run
    scaled: Any
    """av.VideoFrame of the size that it has in the model's input."""
    box: Letterbox
    index: int
    t: float
    """Capture time, seconds."""
    dropped: int
    """Frames left out just before this one."""
    taken_at: float
    """Monotonic time at which the frame was decoded."""
    picture: Any | None = None
    """av.VideoFrame, if somebody watches."""
    waits: bool = False
    """True for a frame of a finite file: it is sent again if Triton refuses it, because no frame of a file may miss."""

    @property
    def is_sent_again(self) -> bool:
        """Whether the frame is sent again if Triton refuses it."""
        return self.waits and self.traveller.is_counting

    sequence: int = -1
    """Number among the frames that went to Triton; the lane sets it when the frame sets out."""
