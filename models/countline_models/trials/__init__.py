"""How a new version compares with the one that is live: the statistics behind shadow and canary trials."""
