"""The worker: one process of the data plane that holds several cameras, as the control-plane wants it.

settings.py     what the environment says
assignments.py  from the control-plane's words to the plane's plans; pure
desired.py      brings the plane to what is assigned
planes.py       makes the data plane that is asked for
sink.py         counted frames to records, live boxes and pictures
bus_link.py     the connection to NATS, whenever there is one
pictures.py     JPEG previews, in a thread
reports.py      conditions of cameras as messages; pure
agent.py        the stream to the control-plane
main.py         puts it together; starts and stops it
"""
