"""The commands that this room adds to `countline`; imports nothing heavy, so that `--help` stays quick."""

from countline_common.cli.app import LazyCommand

COMMANDS: list[LazyCommand] = [
    LazyCommand(
        name="analytics",
        help="Run the processes of analytics: ingest and api.",
        target="countline_analytics.cli.analytics:app",
        extra="analytics",
    ),
    LazyCommand(
        name="counts",
        help="Show what crossed the lines of the server's cameras.",
        target="countline_analytics.cli.counts:counts",
        extra="analytics",
    ),
    LazyCommand(
        name="occupancy",
        help="Show how full zones were, who came and went, and for how long.",
        target="countline_analytics.cli.counts:occupancy",
        extra="analytics",
    ),
    LazyCommand(
        name="flows",
        help="Show from which line or zone objects came to which.",
        target="countline_analytics.cli.counts:flows",
        extra="analytics",
    ),
    LazyCommand(
        name="verify",
        help="Hold what was counted against the truth.",
        target="countline_analytics.cli.verify:verify",
        extra="analytics",
    ),
]
