"""Files of trajectories: JSON lines, each a complete `countline.v1.Trajectory`."""

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from google.protobuf import json_format

from countline.v1 import events_pb2
from countline_common.errors import InvalidInputError
from countline_counting.events import Event
from countline_counting.identity import Identity
from countline_counting.paths import Trajectory
from countline_pipelines.messages import to_message


class TrajectoryFile:
    """Writes the trajectories among events; without a path, it writes nothing.

    Raises:
        InvalidInputError: the file cannot be written.
    """

    def __init__(self, path: Path | None) -> None:
        try:
            self._file = path.open("w", encoding="utf-8") if path is not None else None
        except OSError as error:
            raise InvalidInputError(f"cannot write {path}: {error.strerror}", hint="choose another file") from error

    @property
    def is_wanted(self) -> bool:
        """Whether there is a file to write to."""
        return self._file is not None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def write(self, events: Iterable[Event], identity: Identity, labels: Sequence[str] = ()) -> None:
        """Write the trajectories of a run; classes without a name are written as numbers."""
        if self._file is None:
            return
        for event in events:
            if isinstance(event, Trajectory):
                self._file.write(as_line(to_message(event, labels, identity)))

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()


def as_line(message: events_pb2.Trajectory) -> str:
    """Return a message as a line of a file."""
    return json.dumps(json_format.MessageToDict(message, preserving_proto_field_name=True)) + "\n"


def parse(found: Any, where: str) -> events_pb2.Trajectory:
    """Return a trajectory from JSON.

    Raises:
        InvalidInputError: the JSON is not a trajectory; the message begins with `where`.
    """
    try:
        return json_format.ParseDict(found, events_pb2.Trajectory(), ignore_unknown_fields=True)
    except (json_format.ParseError, AttributeError, TypeError) as error:
        raise InvalidInputError(f"{where}: not a trajectory: {error}") from error


def read_trajectories(path: Path) -> Iterator[events_pb2.Trajectory]:
    """Read a file that `TrajectoryFile` wrote.

    Raises:
        InvalidInputError: a line is not a trajectory; the message names file and line.
    """
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                found = json.loads(line)
            except ValueError as error:
                raise InvalidInputError(
                    f"{path}, line {number}: {error}",
                    hint="create the file with: countline replay ... --trajectories FILE",
                ) from error
            yield parse(found, f"{path}, line {number}")
