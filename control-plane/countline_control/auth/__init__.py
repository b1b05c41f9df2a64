"""Who may come in: users, passwords, sessions and the tokens that everybody else checks."""
