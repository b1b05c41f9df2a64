"""The commands that this room adds to `countline`. Imports nothing heavy, so that `--help` stays fast."""

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
        help="Show crossings by line and time bucket.",
        target="countline_analytics.cli.counts:counts",
        extra="analytics",
    ),
    LazyCommand(
        name="occupancy",
        help="Show occupancy, entries, exits and dwell times of zones.",
        target="countline_analytics.cli.counts:occupancy",
        extra="analytics",
    ),
    LazyCommand(
        name="flows",
        help="Show flows from line or zone to line or zone.",
        target="countline_analytics.cli.counts:flows",
        extra="analytics",
    ),
    LazyCommand(
        name="db",
        help="Maintain the database of counts.",
        target="countline_analytics.cli.db:app",
        extra="analytics",
    ),
    LazyCommand(
        name="verify",
        help="Compare counted crossings with true crossings.",
        target="countline_analytics.cli.verify:verify",
        extra="analytics",
    ),
]
