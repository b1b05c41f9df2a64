"""API keys, and the service accounts that own keys."""
