-- Takes the tables of the audit from the role of the service. A superuser runs this in the database of auth, after the
-- service has started once: psql -v role=auth -f protection.sql. It can be run again.
-- The service may then read and insert. It may delete through audit.purge only, which refuses rows that are young.
SELECT 'CREATE ROLE countline_audit NOLOGIN' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'countline_audit') \gexec
ALTER SCHEMA audit OWNER TO countline_audit;
ALTER TABLE audit.audit_logs OWNER TO countline_audit;
ALTER TABLE audit.checkpoints OWNER TO countline_audit;
ALTER FUNCTION audit.purge(bigint, integer) OWNER TO countline_audit;
REVOKE ALL ON SCHEMA audit FROM PUBLIC, :"role";
REVOKE ALL ON ALL TABLES IN SCHEMA audit FROM PUBLIC, :"role";
REVOKE ALL ON FUNCTION audit.purge(bigint, integer) FROM PUBLIC;
GRANT USAGE ON SCHEMA audit TO :"role";
-- No `received_at`: the moment from which retention counts is PostgreSQL's.
GRANT SELECT, INSERT (sequence, hashed_text, hash, signature) ON audit.audit_logs TO :"role";
GRANT SELECT, INSERT ON audit.checkpoints TO :"role";
GRANT EXECUTE ON FUNCTION audit.purge(bigint, integer) TO :"role";
