"""`countline cameras` history and rebuild."""
