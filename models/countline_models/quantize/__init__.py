"""Contract models in eight bits: calibrated on frames of real clips, and held to what they counted in floating point.

`parts` says what is quantised and cuts it out of the graph, `frames` takes frames from clips, `int8` has ONNX Runtime
quantise, `effect` measures what it brought and what it cost, `verdict` says whether it pays. Nothing here claims a
gain: whether eight bits are faster depends on the processor, and whether boxes survive on the network.
"""
