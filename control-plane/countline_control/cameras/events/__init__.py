"""The events of cameras: what happened, how a state follows from them, and the tables that show it."""
