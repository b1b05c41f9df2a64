"""The software data plane: FFmpeg decodes, Triton infers. One thread for each camera, and one for the event loop.

plane.py     holds cameras and lanes
camera.py    one camera: its source and its branches
branches.py  the versions of a model that look at a camera's frames
source/      the reader's thread, its state, and the pictures that go to Triton
lane/        the way of all frames of one version: ring, batches, requests in flight
change/      a branch for each version, and the change from one version to another
trial/       a follower, compared with the version that counts
"""
