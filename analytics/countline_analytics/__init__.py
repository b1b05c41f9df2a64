"""From events on the bus to numbers on a page: ingest, aggregates, REST, WebSocket."""
