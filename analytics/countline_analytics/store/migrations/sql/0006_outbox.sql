-- Rows of the audit that wait for NATS; the same table as in the services of the control-plane.
CREATE TABLE analytics.outbox (
    outbox_id  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    message_id text NOT NULL UNIQUE,
    subject    text NOT NULL,
    headers    jsonb NOT NULL,
    payload    bytea NOT NULL,
    created_at timestamptz NOT NULL,
    sent_at    timestamptz,
    held_until timestamptz
);
CREATE INDEX outbox_unsent ON analytics.outbox (outbox_id) WHERE sent_at IS NULL;
