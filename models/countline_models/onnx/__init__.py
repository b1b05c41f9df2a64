"""ONNX graphs: what they declare, how a network answers, adding nodes, opening a frozen batch."""
