"""What an operator sees of the running system: log lines, parts, migrations. All of it is read from streams of NATS."""
