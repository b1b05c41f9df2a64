"""Files of users and temporary folders: read as text, written whole or not at all, removed at the end."""
