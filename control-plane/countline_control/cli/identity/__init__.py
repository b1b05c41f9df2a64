"""Commands of users, roles, logins, sessions and tokens."""
