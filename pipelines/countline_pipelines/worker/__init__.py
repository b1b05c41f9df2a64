"""The worker: one process of the data plane. It holds the cameras that the control-plane assigns.

settings.py     settings from the environment
assignments.py  assignments to the plane's plans; pure
desired.py      reconciles the plane with the assignments
planes.py       builds the data plane
sink.py         counted frames to records, live boxes and pictures
bus_link.py     the connection to NATS
pictures.py     JPEG previews, in a thread
reports.py      conditions of cameras as messages; pure
agent.py        the stream to the control-plane
main.py         builds, starts and stops all parts
"""
