"""Lists of cameras: filters, order and pages."""
