"""The commands that this room adds to `countline`. Imports nothing heavy, so that `--help` stays quick."""

from countline_common.cli.app import LazyCommand

COMMANDS: list[LazyCommand] = [
    LazyCommand(
        name="count",
        help="Count one video file or stream, without any service.",
        target="countline_pipelines.cli.count:count",
        extra="pipelines",
    ),
    LazyCommand(
        name="worker",
        help="Run a worker, which counts the cameras that the control-plane assigns to it.",
        target="countline_pipelines.cli.worker:worker",
        extra="pipelines",
    ),
    LazyCommand(
        name="doctor",
        help="Check whether this machine can run the data plane.",
        target="countline_pipelines.cli.doctor:doctor",
        extra="pipelines",
    ),
    LazyCommand(
        name="replay",
        help="Count over recorded detections or tracks.",
        target="countline_pipelines.cli.replay:replay",
        extra="pipelines",
    ),
    LazyCommand(
        name="recount",
        help="Count a new line over stored trajectories.",
        target="countline_pipelines.cli.recount:recount",
        extra="pipelines",
    ),
    LazyCommand(
        name="selftest",
        help="Check the counting rule against scenes with known counts.",
        target="countline_pipelines.cli.selftest:selftest",
        extra="pipelines",
    ),
    LazyCommand(
        name="evaluate",
        help="Measure tracks and counts against ground truth: HOTA, IDF1, MOTA, count error.",
        target="countline_pipelines.cli.evaluate:evaluate",
        extra="pipelines",
    ),
]
