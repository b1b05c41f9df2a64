"""Contract models in eight bits: calibrated on frames of real clips, and compared with the float model.

`parts` selects the part to quantise and cuts it out of the graph, `frames` reads frames of clips, `int8` quantises with
ONNX Runtime, `effect` measures speed and accuracy, `verdict` says whether it pays. Nothing here promises a gain: the
speed of eight bits depends on the processor, and the accuracy of boxes on the network.
"""
