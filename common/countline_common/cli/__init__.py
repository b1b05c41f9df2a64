"""The root of the command `countline`, and what the commands of all rooms share."""
