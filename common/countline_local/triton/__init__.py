"""The embedded Triton: NVIDIA's `tritonserver` from the wheel nvidia-pytriton, with ONNX Runtime on the CPU.

`assembly` puts the backends together, `command` builds the command line, `server` runs it, `private` runs one for a
single command. What a model needs changed on one machine is overridden when it is loaded; the repository stays as it is
and loads in NVIDIA's container too.
"""
