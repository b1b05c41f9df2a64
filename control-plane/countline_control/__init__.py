"""The gRPC services of users, cameras, models and workers, and their commands."""
