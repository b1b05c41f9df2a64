"""The details of cameras: what REST adds to a camera if `view` is `full`."""
