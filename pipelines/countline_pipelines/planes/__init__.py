"""Data planes: what they share, the software plane and the DeepStream plane."""
