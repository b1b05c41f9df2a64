"""The commands that change cameras. Each works inside the caller's transaction."""
