"""The demo detector: a small anchor-free network trained on the procedural scenes.

`dataset` renders the training pictures, `targets` and `loss` define what is learned, `network` is the network, `train`
the recipe (PyTorch, in an environment of its own). `export` writes the fused ONNX graph and `evaluate` measures it on
unseen scenes. Only `network`, `loss`, `train` and `export` need PyTorch.
"""
