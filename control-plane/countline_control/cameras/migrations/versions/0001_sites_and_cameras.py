"""Sites, cameras, versions of lines and zones, outbox."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

S = "cameras"
MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "sites",
        sa.Column("site_id", sa.String, primary_key=True),
        sa.Column("title", sa.String, nullable=False),
        sa.Column("time_zone", sa.String, nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        schema=S,
    )
    op.create_table(
        "cameras",
        sa.Column("camera_id", sa.String, primary_key=True),
        sa.Column("site_id", sa.String, sa.ForeignKey(f"{S}.sites.site_id"), nullable=False),
        sa.Column("title", sa.String, nullable=False),
        sa.Column("spec", JSONB, nullable=False),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("updated_at", MOMENT, nullable=False),
        schema=S,
    )
    op.create_index("ix_cameras_cameras_site_id", "cameras", ["site_id"], schema=S)
    op.create_table(
        "geometry_versions",
        sa.Column("camera_id", sa.String, primary_key=True),
        sa.Column("kind", sa.String, primary_key=True),
        sa.Column("geometry_id", sa.String, primary_key=True),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("fingerprint", sa.String, nullable=False),
        schema=S,
    )
    op.create_table(
        "outbox",
        sa.Column("outbox_id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
        sa.Column("message_id", sa.String, nullable=False, unique=True),
        sa.Column("subject", sa.String, nullable=False),
        sa.Column("headers", JSONB, nullable=False),
        sa.Column("payload", sa.LargeBinary, nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("sent_at", MOMENT),
        schema=S,
    )
    op.create_index("outbox_unsent", "outbox", ["outbox_id"], schema=S, postgresql_where=sa.text("sent_at IS NULL"))


def downgrade() -> None:
    for table in ("outbox", "geometry_versions", "cameras", "sites"):
        op.drop_table(table, schema=S)
