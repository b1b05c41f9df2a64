"""The commands that this room adds to `countline`; imports nothing heavy, so that `--help` stays quick."""

from countline_common.cli.app import LazyCommand

COMMANDS: list[LazyCommand] = [
    LazyCommand(
        name="models",
        help="Make, check and deploy detectors; render scenes.",
        target="countline_demo.cli.app:app",  # the models' commands and the demo's
        extra="models",
    ),
]
