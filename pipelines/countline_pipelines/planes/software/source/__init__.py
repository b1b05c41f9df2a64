"""A camera's source: read in a thread, scaled, handed to lanes.

reader.py   the thread of a camera: open, play, open again
tee.py      its pictures for every branch
scaling.py  each picture scaled once for each input size
feeder.py   a branch's frames: numbered, thinned out, sent to the lane
state.py    where the source stands, on the event loop
"""
