"""GStreamer: library, main loop, elements, sources and pipelines."""
