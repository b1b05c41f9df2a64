"""The schema `workers`."""

from sqlalchemy import CheckConstraint, Column, DateTime, Integer, MetaData, String, Table
from sqlalchemy.dialects.postgresql import JSONB

SCHEMA = "workers"
metadata = MetaData(schema=SCHEMA)
_moment = DateTime(timezone=True)

workers = Table(
    "workers",
    metadata,
    Column("worker_id", String, primary_key=True),
    Column("instance", String, nullable=False),
    Column("backend", String, nullable=False),
    Column("capacity", Integer, nullable=False),
    Column("version", String, nullable=False),
    Column("connected_at", _moment, nullable=False),
    Column("reported_at", _moment, nullable=False),
)

# A row outlives its camera: an epoch is never given twice to one camera id.
assignments = Table(
    "assignments",
    metadata,
    Column("camera_id", String, primary_key=True),
    Column("last_epoch", Integer, nullable=False),
    # All three NULL: nobody holds it. Epoch 0: a file that is played once.
    Column("worker_id", String),
    Column("instance", String),
    Column("epoch", Integer),
    Column("assigned_at", _moment, nullable=False),
    CheckConstraint("(worker_id IS NULL) = (epoch IS NULL) AND (worker_id IS NULL) = (instance IS NULL)", name="held"),
)

# Files that were played to their end, so that they are not played again unless what is counted in them changes.
finished = Table(
    "finished",
    metadata,
    Column("camera_id", String, primary_key=True),
    Column("fingerprint", String, nullable=False),
    # The last CameraStatus as protobuf's JSON.
    Column("status", JSONB, nullable=False),
    Column("finished_at", _moment, nullable=False),
)
