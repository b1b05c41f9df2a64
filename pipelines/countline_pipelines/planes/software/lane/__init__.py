"""The way of frames to Triton: batches across cameras."""
