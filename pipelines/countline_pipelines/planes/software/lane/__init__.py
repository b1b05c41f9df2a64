"""The way of the frames of one version of a model to Triton.

ticket.py    one frame in flight
batching.py  which frames go together
lane.py      ring, requests in flight, answers
"""
