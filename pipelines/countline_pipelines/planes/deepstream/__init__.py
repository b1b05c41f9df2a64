"""The DeepStream data plane: GStreamer decodes, batches, infers through Triton and tracks on the GPU.

Written from documented facts and tested on a double of them (tests/doubles/deepstream); not run on a GPU yet.

    nvurisrcbin ─ valve ─┐
    nvurisrcbin ─ valve ─┼─ nvstreammux ─ queue ─ nvinferserver ─ nvtracker ─ probe ─ fakesink
    nvurisrcbin ─ valve ─┘                        (Triton, gRPC)              │
                                                                   DeepStreamCamera ─ PlaneSink

Imports go downwards:

plane            cameras, and the pipelines in which they play
keeper           keeps one pipeline playing; source_keeper the source of one camera; open_sources and opening, what
                 is open now
gst/             GStreamer: library, main loop, elements, sources, probes, messages, preview, one pipeline
cameras/         one camera: its frames inside the pipeline, its metadata (pyds), its counts
config/          properties of elements and their configuration files; pure

Beside them: options, settings (environment), checks (what is missing), metrics (GPU), printing (`--print-pipeline`),
parser/ (boxes by a C++ function, without the interpreter).
"""
