"""Logins through an identity provider with OpenID Connect: the flow, identity tokens, groups, linked identities."""
