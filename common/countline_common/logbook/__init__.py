"""Log lines outside of the process that logged them: collected, compared with filters, and read from files."""
