"""Whether this process can still do its work. A fault that only a restart cures is recorded here.

`/healthz` then answers 503, and the supervisor or Kubernetes restarts the process. A problem that a restart does not
cure is recorded here too: `/healthz` and `/readyz` list it under `degraded`, which changes no status.
"""

_faults: dict[str, str] = {}
_problems: dict[str, str] = {}


def record_fault(part: str, reason: str) -> None:
    """Record that a part of this process is broken for good."""
    _faults[part] = reason


def faults() -> dict[str, str]:
    """The recorded faults: part → reason."""
    return dict(_faults)


def forget_fault(part: str) -> None:
    """Remove a record: the part was made anew."""
    _faults.pop(part, None)


def record_problem(part: str, reason: str) -> None:
    """Record that a part of this process works less well than it should."""
    _problems[part] = reason


def problems() -> dict[str, str]:
    """The recorded problems: part → reason."""
    return dict(_problems)


def forget_problem(part: str) -> None:
    """Remove a record: the part works well again."""
    _problems.pop(part, None)
