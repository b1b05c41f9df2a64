"""Prometheus metrics of the data plane, with names and units as Prometheus recommends.

A plane forgets the series of a camera that it dropped and of a model that it no longer uses. Code that another thread
may still run then keeps its series from the start: a lookup by label would make the series anew.
"""

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

_STAGE_BUCKETS: Final = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)

FRAMES: Final = Counter("countline_frames_processed", "Frames that were counted.", ["camera"])
DROPPED: Final = Counter("countline_frames_dropped", "Frames left out because the worker was behind.", ["camera"])
LATENCY_SECONDS: Final = Histogram(
    "countline_frame_latency_seconds", "Time from capture to the finished count.", ["camera"], buckets=_STAGE_BUCKETS
)
STAGE_SECONDS: Final = Histogram(
    "countline_stage_seconds", "Time that a frame spends in a stage.", ["stage"], buckets=_STAGE_BUCKETS
)
INFERENCE_SECONDS: Final = Histogram(
    "countline_inference_seconds", "Time from sending a batch to its answer.", ["model"], buckets=_STAGE_BUCKETS
)
BATCH_FRAMES: Final = Histogram(
    "countline_inference_batch_frames", "Frames in a batch.", ["model"], buckets=(1, 2, 4, 8, 16, 32, 64)
)
QUEUED_FRAMES: Final = Gauge("countline_queued_frames", "Frames waiting for inference.", ["model"])
RUNS: Final = Counter("countline_runs_started", "Starts of a tracker.", ["camera"])
CROSSINGS: Final = Counter("countline_crossings", "Decided crossings.", ["camera"])
SOURCE_FAILURES: Final = Counter("countline_source_failures", "Failures of sources.", ["camera", "failure"])
STAMP_FAULTS: Final = Counter(
    "countline_timestamp_faults",
    "Timestamps of sources that jumped (kind jump), or were repeated or out of order (kind disorder).",
    ["camera", "kind"],
)
STAMP_RATE: Final = Gauge(
    "countline_timestamp_rate_ratio",
    "Seconds that pass while the timestamps of a live camera advance by one; 1 if they are right.",
    ["camera"],
)
DECODER: Final = Gauge("countline_decoder_info", "1 for the decoder that a camera uses, else 0.", ["camera", "decoder"])
DECODER_REFUSALS: Final = Counter(
    "countline_decoder_refusals", "Times that the CPU decoded a camera though there is a GPU.", ["camera"]
)
SPOOL_BYTES: Final = Gauge("countline_spool_bytes", "Bytes of the spool on disk.")
SPOOL_RECORDS: Final = Gauge("countline_spool_records", "Records that JetStream has not acknowledged yet.")
PUBLISHED: Final = Counter("countline_records_published", "Records that JetStream has acknowledged.")
PUBLISH_FAILURES: Final = Counter("countline_publish_failures", "Failed attempts to publish a record.")
CLOCK_OFFSET: Final = Gauge("countline_clock_offset_seconds", "How far this machine's clock is ahead of that of NATS.")
FSYNC_SECONDS: Final = Histogram(
    "countline_spool_commit_seconds", "Time to commit a group of records to disk.", buckets=_STAGE_BUCKETS
)


OF_CAMERAS: Final = (
    FRAMES,
    DROPPED,
    LATENCY_SECONDS,
    RUNS,
    CROSSINGS,
    SOURCE_FAILURES,
    STAMP_FAULTS,
    STAMP_RATE,
    DECODER,
    DECODER_REFUSALS,
)
"""Metrics with a series for each camera."""
OF_MODELS: Final = (INFERENCE_SECONDS, BATCH_FRAMES, QUEUED_FRAMES)
"""Metrics with a series for each model."""


def forget_camera(camera_id: str) -> None:
    """Remove every series of a camera."""
    for metric in OF_CAMERAS:
        metric.remove_by_labels({"camera": camera_id})


def forget_model(model: str) -> None:
    """Remove every series of a model."""
    for metric in OF_MODELS:
        metric.remove_by_labels({"model": model})


class CameraMetrics:
    """The metrics of one camera, looked up once: a lookup by label costs more than the counting."""

    def __init__(self, camera_id: str) -> None:
        self.frames = FRAMES.labels(camera_id)
        self.dropped = DROPPED.labels(camera_id)
        self.runs = RUNS.labels(camera_id)
        self.crossings = CROSSINGS.labels(camera_id)
        self.latency_s = LATENCY_SECONDS.labels(camera_id)
        self.counting_s = STAGE_SECONDS.labels("count")
