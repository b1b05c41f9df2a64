"""Cameras of the DeepStream plane: metadata in, counts and previews out."""
