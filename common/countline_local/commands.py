"""The commands that this room adds to `countline`; imports nothing heavy, so that `--help` stays quick."""

from countline_common.cli import LazyCommand

COMMANDS: list[LazyCommand] = [
    LazyCommand(
        name="triton",
        help="Run an embedded Triton in the foreground.",
        target="countline_local.triton.cli:triton",
        extra="local",
    ),
]
