"""The software data plane: FFmpeg decodes, Triton infers, one thread for each camera and one for the rest.

reader.py     the thread of a camera: open, play, connect again
tee.py        its pictures for every model that looks at them
camera.py     one camera: a branch that counts, and those that take over or follow
branch.py     one model's share of a camera: frames into slots, answers into counts
takeover.py   two branches told as one while a version takes over from another
following.py  a follower heard and compared
lane.py       the way of all frames of one version: ring, batches, requests in flight
plane.py      holds cameras and lanes; the event loop they run on
"""
