"""gRPC for every service and client: server, client, errors, permissions, tokens, pages."""
