"""The permissions of Countline, each declared once, and the names that earlier versions used for them.

A permission is `RESOURCE:ACTION`. Methods name one in their .proto, roles hold several, tokens carry them.
"""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Final


class Permission(StrEnum):
    """What a caller may be permitted to do."""

    CAMERA_READ = "camera:read"
    CAMERA_WRITE = "camera:write"
    CAMERA_DELETE = "camera:delete"
    CAMERA_SECRETS = "camera:secrets"
    ANALYTICS_READ = "analytics:read"
    ANALYTICS_WRITE = "analytics:write"
    TRUTH_READ = "truth:read"
    TRUTH_WRITE = "truth:write"
    MODEL_READ = "model:read"
    MODEL_WRITE = "model:write"
    WORKER_READ = "worker:read"
    WORKER_WRITE = "worker:write"
    WORKER_REPORT = "worker:report"
    WORKER_CONNECT = "worker:connect"
    JOB_READ = "job:read"
    JOB_WRITE = "job:write"
    NOTIFICATION_READ = "notification:read"
    NOTIFICATION_WRITE = "notification:write"
    LIVE_BROADCAST = "live:broadcast"
    DLQ_READ = "dlq:read"
    DLQ_WRITE = "dlq:write"
    USER_READ = "user:read"
    USER_WRITE = "user:write"
    USER_IMPERSONATE = "user:impersonate"
    SELF_READ = "self:read"
    SELF_WRITE = "self:write"
    AUDIT_READ = "audit:read"
    SYSTEM_ADMIN = "system:admin"


MEANINGS: Final[Mapping[Permission, str]] = {
    Permission.CAMERA_READ: "See sites, cameras, their status, and live pictures with boxes",
    Permission.CAMERA_WRITE: "Create and change sites and cameras",
    Permission.CAMERA_DELETE: "Delete sites and cameras",
    Permission.CAMERA_SECRETS: "Read the passwords of cameras",
    Permission.ANALYTICS_READ: "See counts, occupancy, flows and trajectories",
    Permission.ANALYTICS_WRITE: "Change dashboards and reports",
    Permission.TRUTH_READ: "See true crossings",
    Permission.TRUTH_WRITE: "Store and delete true crossings",
    Permission.MODEL_READ: "See models, versions and trials",
    Permission.MODEL_WRITE: "Deploy, tune, promote, try and delete models",
    Permission.WORKER_READ: "See workers and what they process",
    Permission.WORKER_WRITE: "Change how work is spread over workers",
    Permission.WORKER_REPORT: "Report the state of a worker's cameras",
    Permission.WORKER_CONNECT: "Connect as a worker",
    Permission.JOB_READ: "See jobs",
    Permission.JOB_WRITE: "Start and cancel jobs",
    Permission.NOTIFICATION_READ: "See rules, alerts and channels",
    Permission.NOTIFICATION_WRITE: "Change rules and channels, acknowledge alerts",
    Permission.LIVE_BROADCAST: "Send a message to all open dashboards",
    Permission.DLQ_READ: "See records that could not be processed",
    Permission.DLQ_WRITE: "Process such records again, or drop them",
    Permission.USER_READ: "See users, roles and sessions",
    Permission.USER_WRITE: "Change users, roles, grants and sessions",
    Permission.USER_IMPERSONATE: "Act for another user; the audit names the real caller",
    Permission.SELF_READ: "See one's own profile and sessions",
    Permission.SELF_WRITE: "Change one's own profile, password, second factor and API keys, end one's own sessions",
    Permission.AUDIT_READ: "See the audit",
    Permission.SYSTEM_ADMIN: "Change settings of the system, see its logs",
}

MACHINES_ONLY: Final = frozenset({Permission.CAMERA_SECRETS, Permission.WORKER_REPORT, Permission.WORKER_CONNECT})
"""Permissions that only tokens of workers and services carry. No role may hold them."""
PEOPLE: Final = frozenset(Permission) - MACHINES_ONLY
"""Permissions that roles may hold."""
NOT_WHILE_ACTING: Final = frozenset({Permission.SELF_WRITE, Permission.USER_WRITE, Permission.USER_IMPERSONATE})
"""Permissions that a caller who acts for another user never has.

All methods that change accounts need one of them: passwords, second factors, keys, sessions, profiles, users, roles,
grants, invites and identities.
"""
NOT_WITH_KEYS: Final = frozenset({Permission.SELF_WRITE})
"""Permissions that an API key never has: who steals a key must not be able to change, keep or end the account.

All methods that change the caller's own account need one of them: profile, password, second factor, keys and sessions.
"""

EARLIER: Final[Mapping[str, frozenset[Permission]]] = {
    "*": PEOPLE,
    "self.read": frozenset({Permission.SELF_READ, Permission.SELF_WRITE}),
    "users.read": frozenset({Permission.USER_READ}),
    "users.write": frozenset({Permission.USER_WRITE}),
    "cameras.read": frozenset({Permission.CAMERA_READ}),
    "cameras.write": frozenset({Permission.CAMERA_WRITE, Permission.CAMERA_DELETE}),
    "cameras.secrets": frozenset({Permission.CAMERA_SECRETS}),
    "workers.read": frozenset({Permission.WORKER_READ}),
    "workers.report": frozenset({Permission.WORKER_REPORT, Permission.WORKER_CONNECT}),
    "models.read": frozenset({Permission.MODEL_READ}),
    "models.write": frozenset({Permission.MODEL_WRITE}),
    "counts.read": frozenset({Permission.ANALYTICS_READ}),
    "truth.read": frozenset({Permission.TRUTH_READ}),
    "truth.write": frozenset({Permission.TRUTH_WRITE}),
}
"""What the names in tokens of earlier versions stand for. Tokens of workers and services live for up to 400 days."""


def current_names(names: Iterable[str]) -> frozenset[str]:
    """Translate the permissions of a token: earlier names into current ones; unknown names stay and open nothing."""
    return frozenset[str]().union(*(EARLIER.get(name, frozenset({name})) for name in names))


def unknown(names: Iterable[str]) -> list[str]:
    """Return the names that are no permission, in order."""
    known = frozenset(Permission)
    return [name for name in names if name not in known]
