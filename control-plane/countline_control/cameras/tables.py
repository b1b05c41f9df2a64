"""The schema `cameras`."""

from sqlalchemy import Column, DateTime, Double, ForeignKey, Integer, LargeBinary, MetaData, String, Table
from sqlalchemy.dialects.postgresql import JSONB

from countline_common.data.outbox import outbox_table
from countline_control.data_keys import data_key_table

SCHEMA = "cameras"
metadata = MetaData(schema=SCHEMA)
_moment = DateTime(timezone=True)

sites = Table(
    "sites",
    metadata,
    Column("site_id", String, primary_key=True),
    Column("title", String, nullable=False),
    Column("time_zone", String, nullable=False),
    Column("created_at", _moment, nullable=False),
    # List of {"time_zone", "until"}, the oldest first: the zones of earlier days.
    Column("earlier_time_zones", JSONB, nullable=False, server_default="[]"),
    Column("revision", Integer, nullable=False, server_default="1"),
)

data_keys = data_key_table(metadata)

# What happened to cameras, for ever: rows are added and never changed. Rows of deleted cameras stay. They hold no
# password, and name a row of `secrets`.
camera_events = Table(
    "camera_events",
    metadata,
    Column("camera_id", String, primary_key=True),
    # From 1 without gaps in each stream.
    Column("version", Integer, primary_key=True),
    # Version of the first event of the same change.
    Column("change", Integer, nullable=False),
    # Of the camera after the change.
    Column("revision", Integer, nullable=False),
    Column("occurred_at", _moment, nullable=False),
    Column("actor", String, nullable=False),
    # Kind and fields of the event; `events.messages` reads them.
    Column("kind", String, nullable=False),
    Column("data", JSONB, nullable=False),
    # The state after the event, at about every hundredth one.
    Column("snapshot", JSONB(none_as_null=True)),
)

# Whole addresses, sealed. A row goes with its camera, and when the camera gets another address.
secrets = Table(
    "secrets",
    metadata,
    Column("secret_id", String, primary_key=True),
    Column("camera_id", String, nullable=False, index=True),
    Column("key_id", ForeignKey(data_keys.c.key_id), nullable=False),
    Column("sealed", LargeBinary, nullable=False),
)

# What follows from the events: `countline cameras rebuild` compares, and can make it anew.
cameras = Table(
    "cameras",
    metadata,
    Column("camera_id", String, primary_key=True),
    Column("site_id", ForeignKey(sites.c.site_id), nullable=False, index=True),
    Column("name", String, nullable=False),
    Column("location", String, nullable=False, server_default=""),
    Column("latitude", Double),
    Column("longitude", Double),
    Column("floor", String, nullable=False, server_default=""),
    # What is wanted: `active`, `inactive`, `paused` or `retired`.
    Column("status", String, nullable=False, server_default="active"),
    # Since when it is not active; NULL where it is, or where an older release did not note it.
    Column("stopped_at", _moment),
    Column("tags", JSONB, nullable=False, server_default="[]"),
    # A CameraSpec as protobuf's JSON.
    Column("spec", JSONB, nullable=False),
    # The address with its secrets masked; and the row of `secrets` with the whole one, or "" if it holds no secret.
    Column("stream_url", String, nullable=False, server_default=""),
    Column("secret_id", String, nullable=False, server_default=""),
    Column("revision", Integer, nullable=False),
    Column("created_at", _moment, nullable=False),
    Column("updated_at", _moment, nullable=False),
    # Pictures as protobuf's JSON: the displayed picture, and the one on which lines and zones were drawn.
    Column("picture", JSONB),
    Column("drawn_on", JSONB),
)

# It follows from the events too. Rows outlive lines, zones and cameras, so that two geometries never get the same
# version.
geometry_versions = Table(
    "geometry_versions",
    metadata,
    Column("camera_id", String, primary_key=True),
    Column("kind", String, primary_key=True),
    Column("geometry_id", String, primary_key=True),
    Column("version", Integer, nullable=False),
    Column("fingerprint", String, nullable=False),
    # The displayed picture on which this version counts; NULL until a worker has seen it.
    Column("picture", JSONB),
)

outbox = outbox_table(metadata)
