"""The service of auth: users, passwords, sessions, and the tokens that every service checks."""
