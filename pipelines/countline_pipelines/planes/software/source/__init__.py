"""A camera's frames: read in a thread, scaled, handed to lanes."""
