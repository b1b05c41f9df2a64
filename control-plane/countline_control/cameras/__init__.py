"""Sites and cameras: what is watched, what is counted on it, and who was told."""
