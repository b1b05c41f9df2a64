"""Commands of the ops team and of `countline serve`."""
