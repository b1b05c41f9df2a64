"""The DeepStream data plane: GStreamer decodes, batches, infers through Triton and tracks on the GPU.

Written from documented facts and tested on a double of them (tests/doubles/deepstream); not run on a GPU yet.

    nvurisrcbin ─┐
    nvurisrcbin ─┼─ nvstreammux ─ queue ─ nvinferserver ─ nvtracker ─ probe ─ fakesink
    nvurisrcbin ─┘                         (Triton, gRPC)              │
                                              TrackedFrame ─ CameraCounter ─ PlaneSink

There is one pipeline for each version of a model, and each for cameras and for files.

facts.py        what DeepStream 7.1 and 8.0 take and give, as far as it is used here; pure
properties.py   the properties that we set on each element, held against the facts; pure
inference.py    nvinferserver's configuration; proto.py its messages; pure
tracker.py      nvtracker's configuration; pure
coordinates.py  from the muxer's and the network's pixels to those of the source; pure
passage.py      what is known of a source's frames while they are inside: capture time, number
metadata.py     the one place that talks to pyds
gst.py          the one place that imports GStreamer; loop.py the thread of its main loop
sources.py      a camera's source in a pipeline; pipeline.py one pipeline
camera.py       one camera: tables in, counts out
keeper.py       keeps one pipeline alive; plane.py holds them all
parser/         the same boxes by a C++ function, without the interpreter
"""
