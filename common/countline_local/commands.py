"""The commands that this room adds to `countline`; imports nothing heavy, so that `--help` stays quick."""

from countline_common.cli.app import LazyCommand

COMMANDS: list[LazyCommand] = [
    LazyCommand(
        name="up",
        help="Start all parts on this machine and run until Ctrl-C.",
        target="countline_local.cli.up:up",
        extra="local",
    ),
    LazyCommand(
        name="down",
        help="Stop all parts that `up` started.",
        target="countline_local.cli.down:down",
        extra="local",
    ),
    LazyCommand(
        name="status",
        help="Show the parts on this machine and their state.",
        target="countline_local.cli.status:status",
        extra="local",
    ),
    LazyCommand(
        name="triton",
        help="Run an embedded Triton in the foreground.",
        target="countline_local.cli.triton:triton",
        extra="local",
    ),
]
