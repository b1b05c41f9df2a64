-- Deletes the rows of the audit up to one, which must be old enough and signed, and leaves the checkpoint of the purge.
--
-- Only this function deletes rows, and only it writes checkpoints of purges once the audit is protected. So such a
-- checkpoint is true, whoever calls: its hash is that of the last deleted row, and its time that of the purge.
-- PostgreSQL cannot check its signature: `countline audit verify` does.
CREATE OR REPLACE FUNCTION audit.purge(up_to bigint, days integer, at_us bigint, key_id text, signature bytea)
RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    last audit.audit_logs;
    deleted bigint;
BEGIN
    IF days IS NULL OR days < 30 THEN
        RAISE EXCEPTION 'the audit keeps rows for at least 30 days';
    END IF;
    SELECT * INTO last FROM audit.audit_logs AS l WHERE l.sequence = up_to;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no row %', up_to;
    END IF;
    IF EXISTS (SELECT FROM audit.audit_logs AS l
               WHERE l.sequence <= up_to AND l.received_at >= now() - make_interval(days => days)) THEN
        RAISE EXCEPTION 'rows up to % are younger than % days', up_to, days;
    END IF;
    IF NOT EXISTS (SELECT FROM audit.checkpoints AS c WHERE c.sequence >= up_to AND NOT c.purge) THEN
        RAISE EXCEPTION 'no checkpoint covers the rows up to %', up_to;
    END IF;
    IF at_us IS NULL OR abs(at_us / 1e6 - extract(epoch FROM now())) > 3600 THEN
        RAISE EXCEPTION 'the checkpoint of the purge was not signed now';
    END IF;
    INSERT INTO audit.checkpoints (sequence, purge, hash, at_us, key_id, signature)
    VALUES (up_to, true, last.hash, at_us, key_id, signature);
    DELETE FROM audit.audit_logs AS l WHERE l.sequence <= up_to;
    GET DIAGNOSTICS deleted = ROW_COUNT;
    RETURN deleted;
END $$
