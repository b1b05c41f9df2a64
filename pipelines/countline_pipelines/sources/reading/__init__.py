"""What `sources.video.VideoReader` is made of.

recordings.py   the recordings of which a source consists; opens each
foreign.py      what a file is that is no video
opened.py       one open recording: its packets and its pictures
ahead.py        reads the packets of a live HLS stream ahead
decoder.py      decodes packets, on a GPU or on the CPU
watch.py        whether pictures come in time
description.py  size, frame rate and duration of a source
asf.py          duration of an ASF file that was cut off
"""
