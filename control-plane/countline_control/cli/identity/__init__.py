"""Commands of users, roles, logins, sessions and API keys."""
