"""HTTP as every process serves it: health, errors and messages as JSON."""
