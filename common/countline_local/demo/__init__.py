"""The demo site of `countline up`."""
