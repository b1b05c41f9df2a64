"""TLS for gRPC, NATS and PostgreSQL: certificates, credentials, and errors that name the cause."""
