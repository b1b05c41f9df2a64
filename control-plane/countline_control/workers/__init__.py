"""The service of workers: leases, epochs, assignments, reports."""
