"""The paths of objects, simplified for storage."""
