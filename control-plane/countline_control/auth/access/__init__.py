"""Roles and grants: what a role permits, who holds which role, and who may give it away."""
