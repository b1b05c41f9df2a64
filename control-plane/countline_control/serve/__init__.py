"""Builds the services of the control-plane and runs them."""
