"""Cameras get a name, a place, a status and tags; their address is a column of its own.

A camera without a title is named by its id. A camera that was switched off is inactive.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

S = "cameras"


def upgrade() -> None:
    op.alter_column("cameras", "title", new_column_name="name", schema=S)
    op.execute("UPDATE cameras.cameras SET name = camera_id WHERE btrim(name) = ''")
    op.alter_column("cameras", "sealed_source_url", new_column_name="sealed_stream_url", schema=S)
    for name in ("stream_url", "location", "floor"):
        op.add_column("cameras", sa.Column(name, sa.String, nullable=False, server_default=""), schema=S)
    for name in ("latitude", "longitude"):
        op.add_column("cameras", sa.Column(name, sa.Double), schema=S)
    op.add_column("cameras", sa.Column("status", sa.String, nullable=False, server_default="active"), schema=S)
    op.add_column("cameras", sa.Column("tags", JSONB, nullable=False, server_default="[]"), schema=S)
    op.execute("""
        UPDATE cameras.cameras SET
          stream_url = coalesce(spec->>'source_url', ''),
          status = CASE WHEN (spec->>'disabled')::boolean THEN 'inactive' ELSE 'active' END,
          spec = spec - 'source_url' - 'disabled'
    """)


def downgrade() -> None:
    op.execute("""
        UPDATE cameras.cameras SET spec = spec || jsonb_build_object('source_url', stream_url)
          || CASE WHEN status = 'active' THEN '{}'::jsonb ELSE '{"disabled": true}'::jsonb END
    """)
    for name in ("stream_url", "location", "floor", "latitude", "longitude", "status", "tags"):
        op.drop_column("cameras", name, schema=S)
    op.alter_column("cameras", "sealed_stream_url", new_column_name="sealed_source_url", schema=S)
    op.alter_column("cameras", "name", new_column_name="title", schema=S)
