"""The software data plane: FFmpeg decodes, Triton infers, one thread for each camera and one for the rest.

reader.py  the thread of a camera: open, play, connect again
camera.py  one camera: frames into slots, answers into counts
lane.py    the way of all frames of one model: ring, batches, requests in flight
plane.py   holds cameras and lanes; the event loop they run on
"""
