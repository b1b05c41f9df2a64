"""Deployments: from an uploaded file to a served version."""
