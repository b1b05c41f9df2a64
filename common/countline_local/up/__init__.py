"""One `countline up`: the run itself, its status for other commands, and the camera events that it shows."""
