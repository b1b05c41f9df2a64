"""Whether this process can still do its work. A fault that only a restart cures is recorded here.

`/healthz` then answers 503, and the supervisor or Kubernetes restarts the process.
"""

_faults: dict[str, str] = {}


def record_fault(part: str, reason: str) -> None:
    """Record that a part of this process is broken for good."""
    _faults[part] = reason


def faults() -> dict[str, str]:
    """The recorded faults: part → reason."""
    return dict(_faults)


def forget_fault(part: str) -> None:
    """Remove a record: the part was made anew."""
    _faults.pop(part, None)
