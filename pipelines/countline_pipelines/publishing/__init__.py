"""From counted events to acknowledged messages: nothing that was decided is lost, nothing is counted twice.

events.py     domain events to protobuf records; pure
coverage.py   frame times to spans of coverage; pure
trials.py     comparisons of two versions to protobuf records; pure
spool.py      records on disk, with fsync, before they are published
writer.py     the thread that commits records in groups
publisher.py  spool to JetStream, until acknowledged
"""
