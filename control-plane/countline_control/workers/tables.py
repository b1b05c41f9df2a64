"""The schema `workers`."""

from sqlalchemy import BigInteger, Boolean, CheckConstraint, Column, DateTime, Integer, MetaData, String, Table
from sqlalchemy.dialects.postgresql import JSONB

from countline_common.data.outbox import outbox_table

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

# Rows outlive their cameras: a camera id never gets the same epoch twice.
assignments = Table(
    "assignments",
    metadata,
    Column("camera_id", String, primary_key=True),
    Column("last_epoch", Integer, nullable=False),
    # All three NULL: no worker holds the camera. Epoch 0: a file that is played once.
    Column("worker_id", String),
    Column("instance", String),
    Column("epoch", Integer),
    Column("assigned_at", _moment, nullable=False),
    # An `AssignmentCause`, and the worker that held the camera before. NULL in rows of earlier releases.
    Column("cause", String),
    Column("former_worker_id", String),
    CheckConstraint("(worker_id IS NULL) = (epoch IS NULL) AND (worker_id IS NULL) = (instance IS NULL)", name="held"),
)

# Files that were played to their end. They are played again only if a change would change their counts.
finished = Table(
    "finished",
    metadata,
    Column("camera_id", String, primary_key=True),
    Column("fingerprint", String, nullable=False),
    # The last CameraObservation as protobuf's JSON.
    Column("status", JSONB, nullable=False),
    Column("finished_at", _moment, nullable=False),
)

# Workers that get no new cameras. A row outlives the worker's processes.
cordons = Table(
    "cordons",
    metadata,
    Column("worker_id", String, primary_key=True),
    Column("drains", Boolean, nullable=False),
    Column("at_once", Boolean, nullable=False),
    Column("reason", String, nullable=False),
    Column("by", String, nullable=False),
    Column("since", _moment, nullable=False),
    Column("drained_at", _moment),
)

# What the last drain of each cordoned worker has moved.
moves = Table(
    "moves",
    metadata,
    Column("former_worker_id", String, primary_key=True),
    Column("camera_id", String, primary_key=True),
    Column("worker_id", String, nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("moved_at", _moment, nullable=False),
    Column("counting_at", _moment),
)

outbox = outbox_table(metadata)

# One row: the copy of the service that schedules. See `lease`.
lease = Table(
    "lease",
    metadata,
    Column("only_row", Boolean, CheckConstraint("only_row", name="only_row"), primary_key=True),
    # Grows each time a copy takes the lease: what a former holder writes is refused by it.
    Column("number", Integer, nullable=False),
    # Grows while the holder works.
    Column("beats", BigInteger, nullable=False),
    # Where other copies reach the holder.
    Column("address", String, nullable=False),
    Column("taken_at", _moment, nullable=False),
    Column("is_released", Boolean, nullable=False),
)
