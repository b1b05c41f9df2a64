"""Queries of what happened to a camera, and of its state at a past time. They read events, and change nothing."""
