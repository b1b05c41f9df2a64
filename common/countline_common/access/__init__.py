"""Who may do what: the vocabulary of permissions, and the scopes over which a caller holds them. Pure."""
