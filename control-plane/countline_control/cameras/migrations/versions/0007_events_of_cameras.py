"""Events of cameras, and sealed addresses in rows of their own.

Each camera gets its first event from its row: the state in which this migration finds it. A deleted camera of which
versions of lines and zones are left gets one too, so that its next lines go on with them. What happened before is not
known here; the audit has it.
"""

from datetime import UTC, datetime
from uuid import uuid4

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

from countline_common.redaction import redact_address

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

S = "cameras"
MOMENT = sa.DateTime(timezone=True)
ACTOR = "migration"


def upgrade() -> None:
    events = op.create_table(
        "camera_events",
        sa.Column("camera_id", sa.String, primary_key=True),
        sa.Column("version", sa.Integer, primary_key=True),
        sa.Column("change", sa.Integer, nullable=False),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("occurred_at", MOMENT, nullable=False),
        sa.Column("actor", sa.String, nullable=False),
        sa.Column("kind", sa.String, nullable=False),
        sa.Column("data", JSONB, nullable=False),
        sa.Column("snapshot", JSONB(none_as_null=True)),
        schema=S,
    )
    op.create_table(
        "secrets",
        sa.Column("secret_id", sa.String, primary_key=True),
        sa.Column("camera_id", sa.String, nullable=False),
        sa.Column("key_id", sa.String, sa.ForeignKey(f"{S}.data_keys.key_id"), nullable=False),
        sa.Column("sealed", sa.LargeBinary, nullable=False),
        schema=S,
    )
    op.create_index("ix_cameras_secrets_camera_id", "secrets", ["camera_id"], schema=S)
    op.add_column("cameras", sa.Column("secret_id", sa.String, nullable=False, server_default=""), schema=S)
    op.add_column("cameras", sa.Column("stopped_at", MOMENT), schema=S)
    _name_secrets()
    first = _first_events()
    if first:
        op.bulk_insert(events, first)
    op.drop_column("cameras", "sealed_stream_url", schema=S)
    op.drop_column("cameras", "source_key_id", schema=S)


def _name_secrets() -> None:
    """Give each address with a secret an id, and move the sealed ones.

    A very old release stored addresses in the clear. The service seals them at its next start, under the same id.
    """
    connection = op.get_bind()
    rows = connection.execute(sa.text("SELECT camera_id, stream_url, sealed_stream_url FROM cameras.cameras")).all()
    for row in rows:
        if row.sealed_stream_url is not None or redact_address(row.stream_url) != row.stream_url:
            named = sa.text("UPDATE cameras.cameras SET secret_id = :secret_id WHERE camera_id = :camera_id")
            connection.execute(named, {"secret_id": uuid4().hex, "camera_id": row.camera_id})
    connection.execute(
        sa.text("""
            INSERT INTO cameras.secrets (secret_id, camera_id, key_id, sealed)
            SELECT secret_id, camera_id, source_key_id, sealed_stream_url FROM cameras.cameras
            WHERE sealed_stream_url IS NOT NULL
        """)
    )


def _first_events() -> list[dict]:
    connection = op.get_bind()
    versions: dict[str, list[dict]] = {}
    query = "SELECT * FROM cameras.geometry_versions ORDER BY camera_id, kind, geometry_id"
    for row in connection.execute(sa.text(query)).mappings():
        known = {name: row[name] for name in ("kind", "version", "fingerprint", "picture")}
        versions.setdefault(row["camera_id"], []).append({**known, "id": row["geometry_id"]})
    found = [
        _imported(row["camera_id"], _state(row, versions.pop(row["camera_id"], [])), row["revision"], row["updated_at"])
        for row in connection.execute(sa.text("SELECT * FROM cameras.cameras")).mappings()
    ]
    now = datetime.now(UTC)
    deleted = {"camera": None, "drawn_on": None, "secret_id": "", "stopped_at": None}
    return found + [
        _imported(camera_id, {**deleted, "versions": known}, 0, now) for camera_id, known in versions.items()
    ]


def _imported(camera_id: str, state: dict, at_revision: int, at: datetime) -> dict:
    return {
        "camera_id": camera_id,
        "version": 1,
        "change": 1,
        "revision": at_revision,
        "occurred_at": at,
        "actor": ACTOR,
        "kind": "CameraImported",
        "data": state,
        "snapshot": None,
    }


def _state(row: sa.RowMapping, versions: list[dict]) -> dict:
    names = ("camera_id", "site_id", "name", "location", "floor", "tags", "spec", "revision")
    camera = {
        **{name: row[name] for name in names},
        "stream_url": redact_address(row["stream_url"]),
        "status": f"CAMERA_STATUS_{row['status'].upper()}",
        "created_at": row["created_at"].astimezone(UTC).isoformat().replace("+00:00", "Z"),
        "updated_at": row["updated_at"].astimezone(UTC).isoformat().replace("+00:00", "Z"),
    }
    if row["latitude"] is not None:
        camera["position"] = {"latitude": row["latitude"], "longitude": row["longitude"]}
    if row["picture"] is not None:
        camera["picture"] = row["picture"]
    return {
        "camera": camera,
        "drawn_on": row["drawn_on"],
        "secret_id": row["secret_id"],
        "stopped_at": None,
        "versions": versions,
    }


def downgrade() -> None:
    op.add_column("cameras", sa.Column("source_key_id", sa.String), schema=S)
    op.add_column("cameras", sa.Column("sealed_stream_url", sa.LargeBinary), schema=S)
    op.create_foreign_key(
        "cameras_source_key_id_fkey",
        "cameras",
        "data_keys",
        ["source_key_id"],
        ["key_id"],
        source_schema=S,
        referent_schema=S,
    )
    op.execute("""
        UPDATE cameras.cameras AS c SET sealed_stream_url = s.sealed, source_key_id = s.key_id
        FROM cameras.secrets AS s WHERE s.secret_id = c.secret_id
    """)
    op.drop_column("cameras", "secret_id", schema=S)
    op.drop_column("cameras", "stopped_at", schema=S)
    op.drop_table("secrets", schema=S)
    op.drop_table("camera_events", schema=S)
