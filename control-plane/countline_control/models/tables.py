"""The schema `models`."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Float,
    ForeignKey,
    ForeignKeyConstraint,
    Integer,
    MetaData,
    String,
    Table,
)
from sqlalchemy.dialects.postgresql import JSONB

from countline_common.data.outbox import outbox_table

SCHEMA = "models"
metadata = MetaData(schema=SCHEMA)
_moment = DateTime(timezone=True)

models = Table(
    "models",
    metadata,
    Column("name", String, primary_key=True),
    # Properties shared by all versions: height, width, max_detections, labels.
    Column("contract", JSONB, nullable=False),
    Column("tuning", JSONB, nullable=False),
    # `cpu` or `gpu`: what config.pbtxt is written for.
    Column("target", String, nullable=False),
    # `onnxruntime`, or `tensorrt` for plans that were put into the repository by hand.
    Column("backend", String, nullable=False),
    # 0: none.
    Column("live_version", Integer, nullable=False),
    Column("previous_version", Integer, nullable=False),
    Column("created_at", _moment, nullable=False),
    Column("updated_at", _moment, nullable=False),
)

versions = Table(
    "versions",
    metadata,
    Column("name", ForeignKey(models.c.name, ondelete="CASCADE"), primary_key=True),
    Column("version", Integer, primary_key=True),
    # `registered`, `validated` or `retired`; live, shadow and canary follow from `models` and `trials`.
    Column("state", String, nullable=False),
    Column("digest", String, nullable=False, index=True),
    Column("size_bytes", BigInteger, nullable=False),
    Column("score_threshold", Float, nullable=False),
    Column("fused", String, nullable=False),
    Column("comment", String, nullable=False),
    # A ModelValidation as protobuf's JSON.
    Column("validation", JSONB, nullable=False),
    Column("created_by", String, nullable=False),
    Column("created_at", _moment, nullable=False),
    Column("promoted_by", String, nullable=False),
    Column("promoted_at", _moment),
)

# The content that each number was given to, by SHA-256. Rows outlive version and model: counts and trials refer to
# NAME@VERSION for ever, so a number never stands for two contents.
numbers = Table(
    "numbers",
    metadata,
    Column("name", String, primary_key=True),
    Column("version", Integer, primary_key=True),
    # Empty for versions that were deleted before this table existed.
    Column("digest", String, nullable=False),
)

trials = Table(
    "trials",
    metadata,
    Column("trial_id", String, primary_key=True),
    Column("name", ForeignKey(models.c.name, ondelete="CASCADE"), nullable=False, index=True),
    Column("challenger", Integer, nullable=False),
    Column("incumbent", Integer, nullable=False),
    # `shadow` or `canary`.
    Column("mode", String, nullable=False),
    # `running`, `accepted`, `rejected` or `stopped`.
    Column("state", String, nullable=False),
    Column("camera_ids", JSONB, nullable=False),
    Column("margin", Float, nullable=False),
    Column("promote_if_better", Boolean, nullable=False),
    # The number of looks at the sums so far. Each look may err, so their number is limited.
    Column("looks", Integer, nullable=False),
    Column("verdict", String, nullable=False),
    Column("created_by", String, nullable=False),
    Column("started_at", _moment, nullable=False),
    Column("ends_by", _moment),
    Column("ended_at", _moment),
)

# Reports of workers on trials; a repeated report has the same id.
trial_records = Table(
    "trial_records",
    metadata,
    Column("record_id", String, primary_key=True),
    Column("trial_id", ForeignKey(trials.c.trial_id, ondelete="CASCADE"), nullable=False, index=True),
    Column("camera_id", String, nullable=False),
    Column("starts_at", _moment, nullable=False),
    Column("ends_at", _moment, nullable=False),
    Column("frames", Integer, nullable=False),
    Column("frames_missed", Integer, nullable=False),
)

trial_tallies = Table(
    "trial_tallies",
    metadata,
    Column("record_id", String, primary_key=True),
    Column("line_id", String, primary_key=True),
    # `in` or `out`.
    Column("direction", String, primary_key=True),
    Column("both", Integer, nullable=False),
    Column("only_incumbent", Integer, nullable=False),
    Column("only_challenger", Integer, nullable=False),
    ForeignKeyConstraint(["record_id"], [trial_records.c.record_id], ondelete="CASCADE"),
)

outbox = outbox_table(metadata)
