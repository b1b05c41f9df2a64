"""What ML engineers touch: scenes, detector heads, fusing, training, deployment."""
