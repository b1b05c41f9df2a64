"""Contexts: named servers of the command line, with how to reach each and how to log in."""
