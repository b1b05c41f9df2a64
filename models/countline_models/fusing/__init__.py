"""Makes a contract model of a detector's ONNX graph: pre-processing, decoding and suppression go into the graph."""
