"""The commands that this room adds to `countline`; imports nothing heavy, so that `--help` stays quick."""

from countline_common.cli import LazyCommand

COMMANDS: list[LazyCommand] = [
    LazyCommand(
        name="analytics",
        help="Run the processes of analytics: ingest and api.",
        target="countline_analytics.cli.analytics:app",
        extra="analytics",
    ),
    LazyCommand(
        name="verify",
        help="Hold what was counted against the truth.",
        target="countline_analytics.cli.verify:verify",
        extra="analytics",
    ),
]
