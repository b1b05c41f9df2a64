"""GStreamer: library, main loop, pipelines and their sources."""
