"""The displayed pictures of cameras, and those on which versions of lines and zones count."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

S = "cameras"


def upgrade() -> None:
    op.add_column("cameras", sa.Column("picture", JSONB), schema=S)
    op.add_column("cameras", sa.Column("drawn_on", JSONB), schema=S)
    op.add_column("geometry_versions", sa.Column("picture", JSONB), schema=S)


def downgrade() -> None:
    op.drop_column("geometry_versions", "picture", schema=S)
    op.drop_column("cameras", "drawn_on", schema=S)
    op.drop_column("cameras", "picture", schema=S)
