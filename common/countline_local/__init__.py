"""Every part on one machine, started, watched and stopped as processes."""
