"""Models, their versions, trials with the reports of workers, outbox."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

S = "models"
MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "models",
        sa.Column("name", sa.String, primary_key=True),
        sa.Column("contract", JSONB, nullable=False),
        sa.Column("tuning", JSONB, nullable=False),
        sa.Column("target", sa.String, nullable=False),
        sa.Column("live_version", sa.Integer, nullable=False),
        sa.Column("previous_version", sa.Integer, nullable=False),
        sa.Column("last_version", sa.Integer, nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("updated_at", MOMENT, nullable=False),
        schema=S,
    )
    op.create_table(
        "versions",
        sa.Column("name", sa.String, sa.ForeignKey(f"{S}.models.name", ondelete="CASCADE"), primary_key=True),
        sa.Column("version", sa.Integer, primary_key=True),
        sa.Column("state", sa.String, nullable=False),
        sa.Column("digest", sa.String, nullable=False),
        sa.Column("size_bytes", sa.BigInteger, nullable=False),
        sa.Column("score_threshold", sa.Float, nullable=False),
        sa.Column("fused", sa.String, nullable=False),
        sa.Column("comment", sa.String, nullable=False),
        sa.Column("validation", JSONB, nullable=False),
        sa.Column("created_by", sa.String, nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("promoted_by", sa.String, nullable=False),
        sa.Column("promoted_at", MOMENT),
        schema=S,
    )
    op.create_index("ix_models_versions_digest", "versions", ["digest"], schema=S)
    _create_trials()
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


def _create_trials() -> None:
    op.create_table(
        "trials",
        sa.Column("trial_id", sa.String, primary_key=True),
        sa.Column("name", sa.String, sa.ForeignKey(f"{S}.models.name", ondelete="CASCADE"), nullable=False),
        sa.Column("challenger", sa.Integer, nullable=False),
        sa.Column("incumbent", sa.Integer, nullable=False),
        sa.Column("mode", sa.String, nullable=False),
        sa.Column("state", sa.String, nullable=False),
        sa.Column("camera_ids", JSONB, nullable=False),
        sa.Column("margin", sa.Float, nullable=False),
        sa.Column("promote_if_better", sa.Boolean, nullable=False),
        sa.Column("looks", sa.Integer, nullable=False),
        sa.Column("verdict", sa.String, nullable=False),
        sa.Column("created_by", sa.String, nullable=False),
        sa.Column("started_at", MOMENT, nullable=False),
        sa.Column("ends_by", MOMENT),
        sa.Column("ended_at", MOMENT),
        schema=S,
    )
    op.create_index("ix_models_trials_name", "trials", ["name"], schema=S)
    op.create_table(
        "trial_records",
        sa.Column("record_id", sa.String, primary_key=True),
        sa.Column("trial_id", sa.String, sa.ForeignKey(f"{S}.trials.trial_id", ondelete="CASCADE"), nullable=False),
        sa.Column("camera_id", sa.String, nullable=False),
        sa.Column("starts_at", MOMENT, nullable=False),
        sa.Column("ends_at", MOMENT, nullable=False),
        sa.Column("frames", sa.Integer, nullable=False),
        sa.Column("frames_missed", sa.Integer, nullable=False),
        schema=S,
    )
    op.create_index("ix_models_trial_records_trial_id", "trial_records", ["trial_id"], schema=S)
    op.create_table(
        "trial_tallies",
        sa.Column("record_id", sa.String, primary_key=True),
        sa.Column("line_id", sa.String, primary_key=True),
        sa.Column("direction", sa.String, primary_key=True),
        sa.Column("both", sa.Integer, nullable=False),
        sa.Column("only_incumbent", sa.Integer, nullable=False),
        sa.Column("only_challenger", sa.Integer, nullable=False),
        sa.ForeignKeyConstraint(["record_id"], [f"{S}.trial_records.record_id"], ondelete="CASCADE"),
        schema=S,
    )


def downgrade() -> None:
    for table in ("outbox", "trial_tallies", "trial_records", "trials", "versions", "models"):
        op.drop_table(table, schema=S)
