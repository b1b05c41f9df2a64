"""The commands that this room adds to `countline`; imports nothing heavy, so that `--help` stays quick."""

from countline_common.cli.app import LazyCommand

COMMANDS: list[LazyCommand] = [
    LazyCommand(
        name="count",
        help="Count one video file or stream, without any services.",
        target="countline_pipelines.cli.count:count",
        extra="pipelines",
    ),
    LazyCommand(
        name="worker",
        help="Run a worker: it counts the cameras that the control-plane gives it.",
        target="countline_pipelines.cli.worker:worker",
        extra="pipelines",
    ),
    LazyCommand(
        name="doctor",
        help="Can this machine run the data plane, on CPU or GPU, and what is missing?",
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
        help="Count a new line over what a camera saw before.",
        target="countline_pipelines.cli.recount:recount",
        extra="pipelines",
    ),
    LazyCommand(
        name="selftest",
        help="Count trajectories whose true counts are known.",
        target="countline_pipelines.cli.selftest:selftest",
        extra="pipelines",
    ),
    LazyCommand(
        name="evaluate",
        help="Evaluate tracks and counts against ground truth: HOTA, IDF1, MOTA, count error.",
        target="countline_pipelines.cli.evaluate:evaluate",
        extra="pipelines",
    ),
]
