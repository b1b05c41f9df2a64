"""The gRPC services that hold cameras, users and workers, and the CLI of the ops team."""
