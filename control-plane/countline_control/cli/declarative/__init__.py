"""`countline apply` and `countline sites export`: the IO around `countline_control.declarative`."""
