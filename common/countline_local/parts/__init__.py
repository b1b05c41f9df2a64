"""The parts of one machine, one module each."""
