"""Runs over files, so that a later version of the counting rule supersedes an earlier one.

Revision ID: 0005
"""

from countline_analytics.store.scripts import run_script

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run_script("0005_file_runs.sql")


def downgrade() -> None:
    raise NotImplementedError("counts are not thrown away by going back to an older schema")
