"""Commands that watch a running Countline: `countline check` for monitoring systems, `countline top` for people."""
