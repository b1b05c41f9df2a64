"""Files of trajectories: JSON lines, each a complete `countline.v1.Trajectory`."""

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from google.protobuf import json_format

from countline.v1 import events_pb2
from countline_common.errors import InvalidInputError
from countline_common.files.output_files import OutputFile
from countline_common.files.text_files import read_lines
from countline_common.untrusted_json import parse_json
from countline_counting.events import Event
from countline_counting.identity import Identity
from countline_counting.paths import Trajectory
from countline_pipelines.messages import to_message


class TrajectoryFile:
    """Writes the trajectories among events; without a file, it writes nothing.

    Args:
        output: the open file; its owner puts it in place.
    """

    def __init__(self, output: OutputFile | None) -> None:
        self._output = output

    @property
    def is_wanted(self) -> bool:
        """Whether there is a file to write to."""
        return self._output is not None

    def write(self, events: Iterable[Event], identity: Identity, labels: Sequence[str] = ()) -> None:
        """Write the trajectories of a run; classes without a name are written as numbers.

        Raises:
            CountlineError: the file cannot be written.
        """
        if self._output is None:
            return
        for event in events:
            if isinstance(event, Trajectory):
                self._output.write(as_line(to_message(event, labels, identity)).encode())


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
    for number, line in enumerate(read_lines(path), 1):
        if not line.strip():
            continue
        try:
            found = parse_json(line)
        except ValueError as error:
            raise InvalidInputError(
                f"{path}, line {number}: {error}",
                hint="create the file with: countline replay ... --trajectories FILE",
            ) from error
        yield parse(found, f"{path}, line {number}")
