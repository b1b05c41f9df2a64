"""The data plane: sources, batching, inference, tracking, counting, publishing."""
