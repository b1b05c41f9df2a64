"""How the services of the control-plane are put together and run.

`plane` builds them, top to bottom; `host` has what they share; `process` runs them until a signal.
"""
