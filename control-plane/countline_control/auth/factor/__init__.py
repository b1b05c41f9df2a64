"""Second factors: codes of an authenticator app, with recovery codes."""
