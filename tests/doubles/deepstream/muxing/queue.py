"""What waits between the input pads of the muxer and the task that makes the batches."""

import threading
import time
from collections import deque
from typing import Any

from gi.repository import Gst
from tests.doubles.deepstream.muxing.inputs import BatchRules, Frame, Input


class MuxQueue:
    """Frames and events of all inputs. Pads put them in from their threads; the task takes them out."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self.inputs: dict[int, Input] = {}
        self._events: deque[tuple[str, int]] = deque()
        self._running = False
        self._had_inputs = False
        self._flow = Gst.FlowReturn.OK
        self._end_sent = False

    def begin(self) -> None:
        """The muxer starts."""
        with self._changed:
            self._running, self._flow, self._end_sent = True, Gst.FlowReturn.OK, False
            for each in self.inputs.values():
                each.begin()

    def halt(self) -> None:
        """The muxer stops."""
        with self._changed:
            self._running = False
            for each in self.inputs.values():
                each.flush(flushing=True)
            self._events.clear()
            self._changed.notify_all()

    def add(self, index: int, pad: Any) -> None:
        """A pad was requested."""
        with self._changed:
            self.inputs[index] = Input(index, pad, flushing=not self._running)
            self._had_inputs = True

    def remove(self, index: int) -> bool:
        """A pad was released; PAD_DELETED follows in order with the batches. Return False if there is none."""
        with self._changed:
            gone = self.inputs.pop(index, None)
            if gone is None:
                return False
            gone.flush(flushing=True)
            if gone.announced and self._running:
                self._events.append(("GST_NVEVENT_PAD_DELETED", index))
            self._changed.notify_all()
        return True

    def put(self, into: Input, frame: Frame, longest: int) -> Any:
        """Put a frame in; waits while the input has as many as it may. Return the flow."""
        with self._changed:
            while len(into.frames) >= longest and not into.flushing and self._flow == Gst.FlowReturn.OK:
                self._changed.wait()
            if into.flushing:
                return Gst.FlowReturn.FLUSHING
            if self._flow == Gst.FlowReturn.OK:
                into.frames.append(frame)
                self._changed.notify_all()
            return self._flow

    def new_caps(self, into: Input, info: Any) -> None:
        """The frames of an input have a new format."""
        with self._changed:
            into.info, into.width, into.height = info, info.width, info.height
            into.ended = False

    def end(self, into: Input, *, reset_number: bool) -> None:
        """An input ended."""
        with self._changed:
            into.ended = True
            if reset_number:
                into.frame_num = 0
            self._changed.notify_all()

    def flush(self, into: Input, *, start: bool) -> None:
        """A flush of an input begins or ends."""
        with self._changed:
            into.flush(flushing=start or not self._running)
            self._changed.notify_all()

    def reset(self, into: Input, *, reset_number: bool) -> None:
        """The source of an input was reset."""
        with self._changed:
            if reset_number:
                into.frame_num = 0
            self._events.append(("GST_NVEVENT_STREAM_RESET", into.index))
            self._changed.notify_all()

    def take(self, rules: BatchRules, *, sends_end: bool) -> tuple[str, Any] | None:
        """Wait for the next event, batch or end; None once the muxer stops."""
        with self._changed:
            work = self._next(rules, sends_end=sends_end)
            while work is None and self._running:
                self._changed.wait(rules.patience_s(self.inputs.values()))
                work = self._next(rules, sends_end=sends_end)
            return work if self._running else None

    def _next(self, rules: BatchRules, *, sends_end: bool) -> tuple[str, Any] | None:
        if self._events:
            return "event", self._events.popleft()
        chosen = rules.choose(self.inputs.values(), time.monotonic())
        if chosen:
            self._changed.notify_all()
            return "batch", chosen
        over = next((each for each in self.inputs.values() if each.is_over and each.announced), None)
        if over is not None:
            over.announced = False
            return "event", ("GST_NVEVENT_STREAM_EOS", over.index)
        if sends_end and self._is_over():
            self._end_sent = True
            return "end", None
        return None

    def _is_over(self) -> bool:
        return self._had_inputs and not self._end_sent and all(each.is_over for each in self.inputs.values())

    def stopped_by(self, flow: Any) -> None:
        """Downstream takes no more, for this reason."""
        with self._changed:
            self._flow = flow
            self._running = False
            self._changed.notify_all()
