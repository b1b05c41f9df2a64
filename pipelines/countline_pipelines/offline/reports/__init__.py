"""Reports that `countline count` and `countline replay` print."""
