"""Encryption of stored secrets, and the files that hold keys and passwords."""
