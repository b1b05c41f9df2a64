"""The backend of a model in Triton; every earlier model uses ONNX Runtime."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

S = "models"


def upgrade() -> None:
    op.add_column("models", sa.Column("backend", sa.String, nullable=False, server_default="onnxruntime"), schema=S)
    op.alter_column("models", "backend", server_default=None, schema=S)


def downgrade() -> None:
    op.drop_column("models", "backend", schema=S)
