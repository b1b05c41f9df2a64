"""The audit: stores the rows of all services once, chains them by hashes, and signs checkpoints of the chain."""
