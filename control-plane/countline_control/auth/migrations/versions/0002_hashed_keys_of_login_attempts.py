"""Keys of login attempts are hashed: people type passwords where a user name belongs. Earlier attempts are forgiven."""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("DELETE FROM auth.login_attempts")


def downgrade() -> None:
    op.execute("DELETE FROM auth.login_attempts")
