"""The demo detector: a small anchor-free network trained on the procedural scenes.

`dataset` renders what it learns from, `network` is the net, `loss` what it is taught, `train` the recipe (PyTorch,
in an environment of its own), `export` writes the fused ONNX graph and `evaluate` measures that graph on scenes it
has never seen. Only `network`, `loss`, `train` and `export` need PyTorch.
"""
