"""The way of the frames of one version of a model to Triton.

ticket.py    one frame in flight
batching.py  which frames go together
answers.py   answers in the order of their frames
lane.py      ring and requests in flight
"""
