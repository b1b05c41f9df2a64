"""ONNX graphs: reading them, building them, fusing pre- and post-processing into them."""
