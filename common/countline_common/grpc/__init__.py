"""gRPC as every service and client uses it: server, client, errors, permissions, tokens."""
