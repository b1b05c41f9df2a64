"""What every room needs: settings, logging, metrics, health, errors, connections, the root of the command line."""
