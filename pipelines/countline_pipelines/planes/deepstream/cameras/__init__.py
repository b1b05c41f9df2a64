"""Cameras of the DeepStream plane: metadata of frames in, counts out."""
