"""Time zones of a site's earlier days, and revisions of sites."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

S = "cameras"


def upgrade() -> None:
    op.add_column("sites", sa.Column("earlier_time_zones", JSONB, nullable=False, server_default="[]"), schema=S)
    op.add_column("sites", sa.Column("revision", sa.Integer, nullable=False, server_default="1"), schema=S)


def downgrade() -> None:
    op.drop_column("sites", "revision", schema=S)
    op.drop_column("sites", "earlier_time_zones", schema=S)
