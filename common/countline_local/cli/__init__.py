"""`countline up`, `down` and `status`."""
