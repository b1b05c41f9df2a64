"""The states of cameras have new names in the contract; stored reports of finished files hold the old ones."""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

RENAME = "UPDATE workers.finished SET status = replace(status::text, '\"{}', '\"{}')::jsonb"


def upgrade() -> None:
    op.execute(RENAME.format("CAMERA_STATE_", "OBSERVED_STATE_"))


def downgrade() -> None:
    op.execute(RENAME.format("OBSERVED_STATE_", "CAMERA_STATE_"))
