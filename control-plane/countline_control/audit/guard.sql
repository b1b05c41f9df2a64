-- Lets rows be added only behind the last one, and checkpoints only of rows that exist.
--
-- The role of the service may insert. Without this, one row at the largest sequence would leave no place for the next
-- row, and one checkpoint of a far row would stop all later checkpoints.
CREATE OR REPLACE FUNCTION audit.guard_row() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF EXISTS (SELECT FROM audit.audit_logs AS l WHERE l.sequence = NEW.sequence - 1) THEN
        RETURN NEW;
    END IF;
    IF NOT EXISTS (SELECT FROM audit.audit_logs)
       AND NEW.sequence = 1 + coalesce((SELECT max(c.sequence) FROM audit.checkpoints AS c WHERE c.purge), 0) THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'row % does not follow the last row of the audit', NEW.sequence
        USING ERRCODE = 'object_not_in_prerequisite_state';
END $$;
CREATE OR REPLACE FUNCTION audit.guard_checkpoint() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF EXISTS (SELECT FROM audit.audit_logs AS l WHERE l.sequence = NEW.sequence AND l.hash = NEW.hash) THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'the audit has no row % with the hash of the checkpoint', NEW.sequence
        USING ERRCODE = 'object_not_in_prerequisite_state';
END $$;
CREATE OR REPLACE TRIGGER guard BEFORE INSERT ON audit.audit_logs
FOR EACH ROW EXECUTE FUNCTION audit.guard_row();
CREATE OR REPLACE TRIGGER guard BEFORE INSERT ON audit.checkpoints
FOR EACH ROW EXECUTE FUNCTION audit.guard_checkpoint()
