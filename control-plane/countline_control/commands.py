"""The commands that this room adds to `countline`; imports nothing heavy, so that `--help` stays quick."""

from countline_common.cli import LazyCommand

COMMANDS: list[LazyCommand] = [
    LazyCommand(
        "serve", "Serve the control-plane: auth, cameras, workers.", "countline_control.cli.serve:serve", "control"
    ),
]
