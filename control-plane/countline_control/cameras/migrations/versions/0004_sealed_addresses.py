"""Addresses of cameras that hold a secret, sealed with a data key.

The service seals the existing rows at its next start: a migration has no master key.
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

S = "cameras"


def upgrade() -> None:
    op.create_table(
        "data_keys",
        sa.Column("key_id", sa.String, primary_key=True),
        sa.Column("master_key_id", sa.String, nullable=False),
        sa.Column("wrapped", sa.LargeBinary, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("lost_at", sa.DateTime(timezone=True)),
        schema=S,
    )
    op.add_column("cameras", sa.Column("source_key_id", sa.String), schema=S)
    op.add_column("cameras", sa.Column("sealed_source_url", sa.LargeBinary), schema=S)
    op.create_foreign_key(
        "cameras_source_key_id_fkey",
        "cameras",
        "data_keys",
        ["source_key_id"],
        ["key_id"],
        source_schema=S,
        referent_schema=S,
    )


def downgrade() -> None:
    sealed = op.get_bind().scalar(sa.text("SELECT count(*) FROM cameras.cameras WHERE sealed_source_url IS NOT NULL"))
    if sealed:
        raise RuntimeError(f"{sealed} cameras have sealed addresses, which the older release cannot read")
    op.drop_column("cameras", "sealed_source_url", schema=S)
    op.drop_column("cameras", "source_key_id", schema=S)
    op.drop_table("data_keys", schema=S)
