"""The commands that this room adds to `countline`; imports nothing heavy, so that `--help` stays quick."""

from countline_common.cli.app import LazyCommand

COMMANDS: list[LazyCommand] = [
    LazyCommand(
        name="models",
        help="Make, check and deploy detectors; render scenes.",
        target="countline_models.cli.app:app",
        extra="models",
    ),
]
