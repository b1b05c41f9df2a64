"""From counted events to acknowledged messages. No decided event is lost, and none counts twice.

events.py          domain events to protobuf records; pure
trials.py          comparisons of two versions to protobuf records; pure
spool.py           records on disk, with fsync, before they are published
spool_database.py  the SQLite file of the spool: opened, checked, salvaged
writer.py          the thread that commits records in groups
publisher.py       spool to JetStream, until acknowledged
"""
