"""`countline top`: a live view of cameras and workers in a terminal."""
