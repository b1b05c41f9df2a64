"""Data planes: hold cameras, and turn their sources into counted frames.

interface.py    what a plane does, what it is given, what it reports
keeping.py      reconciles running cameras with the desired ones
plane_thread.py the event loop of a plane, in a thread of its own
held.py         one camera of a plane: what is wanted, and what there is
runs.py         which frame begins a new run
run_counter.py  the counter of the present run
health.py       state and fault of a camera
meters.py       frames counted and dropped, rates, latencies
previews.py     which frames are kept as pictures
sinks.py        sinks that measure, or drop everything
states.py       a state with a table of legal transitions
software/       decode with FFmpeg, infer through Triton
deepstream/     both inside GStreamer
"""
