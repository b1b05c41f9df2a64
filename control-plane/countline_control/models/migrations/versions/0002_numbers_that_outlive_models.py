"""The content of each number, kept when its model is deleted; it replaces the last number of a model."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

S = "models"


def upgrade() -> None:
    op.create_table(
        "numbers",
        sa.Column("name", sa.String, primary_key=True),
        sa.Column("version", sa.Integer, primary_key=True),
        sa.Column("digest", sa.String, nullable=False),
        schema=S,
    )
    op.execute("INSERT INTO models.numbers SELECT name, version, digest FROM models.versions")
    op.execute(
        "INSERT INTO models.numbers SELECT name, n, '' FROM models.models, generate_series(1, last_version) n "
        "ON CONFLICT DO NOTHING"
    )
    op.drop_column("models", "last_version", schema=S)


def downgrade() -> None:
    op.add_column("models", sa.Column("last_version", sa.Integer, nullable=False, server_default="0"), schema=S)
    op.execute(
        "UPDATE models.models SET last_version = "
        "(SELECT coalesce(max(version), 0) FROM models.numbers WHERE numbers.name = models.name)"
    )
    op.alter_column("models", "last_version", server_default=None, schema=S)
    op.drop_table("numbers", schema=S)
