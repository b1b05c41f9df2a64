"""The users of NATS: each part has its own, which may use the subjects of that part and no others.

This table is the only place that says who may do what: the configuration of NATS (`authorization`) and docs/nats.md are
made from it. Without a permission here, `bus_client` logs `bus.not_permitted` and the health of the part shows it.

Only `control` may create streams: a stream or a consumer can send what it holds to any subject, whatever its maker may
publish. For the same reason the worker, which reads what cameras send, may create no consumer.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from countline_common.data import bus
from countline_common.data.administration_feed import BUCKET, BUCKET_STREAM
from countline_common.data.bus_client import USER_INFO

MODEL_BUCKET: Final = "countline-models"
"""Object store of model files."""
EARLIER_USER: Final = "countline"
"""The only user of earlier releases. It may do what a worker may: workers on other machines still use it."""
EARLIER_PASSWORD: Final = "nats-password"  # noqa: S105  (the name of a file)
OPERATOR: Final = "operator"
CONTROL: Final = "control"
INGEST: Final = "ingest"
API: Final = "api"
WORKER: Final = "worker"
UP: Final = "up"

_MODELS: Final = f"OBJ_{MODEL_BUCKET}"
_STREAMS: Final = tuple(str(config.name) for config in bus.stream_configs())
DATED_STREAMS: Final = (bus.COUNTS, bus.DOMAIN, bus.AUDIT, bus.TRIALS, bus.DLQ)
"""Streams with durable consumers, and the dead letters: control looks up a message to say since when it has waited."""
_SERVICES: Final = (CONTROL, "auth", "cameras", "models", "workers")
"""Names under which processes of the control-plane report themselves."""


@dataclass(frozen=True, slots=True)
class BusUser:
    """A user of NATS."""

    name: str
    purpose: str
    publish: tuple[str, ...] = ()
    """Subjects on which it may publish, of requests to JetStream (`$JS.API`) and acknowledgements (`$JS.ACK`) too."""
    subscribe: tuple[str, ...] = ()
    is_free: bool = False
    """Whether it may do everything."""


def _api(request: str, *names: str) -> tuple[str, ...]:
    return tuple(f"$JS.API.{request}.{name}" for name in names)


def _reads(stream: str, consumer: str = "*") -> tuple[str, ...]:
    """What it takes to read a stream through a consumer."""
    durable = () if consumer == "*" else _api("CONSUMER.DURABLE.CREATE", f"{stream}.{consumer}")
    acknowledged = () if consumer == "*" else (f"$JS.ACK.{stream}.{consumer}.>",)
    return (
        *_api("CONSUMER.CREATE", f"{stream}.{consumer}.>"),
        *durable,
        *_api("CONSUMER.INFO", f"{stream}.{consumer}"),
        *_api("CONSUMER.MSG.NEXT", f"{stream}.{consumer}"),
        *acknowledged,
    )


def _reads_ordered(stream: str) -> tuple[str, ...]:
    """What nats-py's ordered consumers, of key-value buckets and object stores, need besides."""
    return (*_api("CONSUMER.CREATE", stream), *_api("CONSUMER.DELETE", f"{stream}.*"), f"$JS.FC.{stream}.>")


def _every_part(user: str, *names: str) -> tuple[str, ...]:
    """What every part does: look at streams, report itself, publish its log, follow settings."""
    return (
        USER_INFO,
        *_api("STREAM.INFO", *_STREAMS, BUCKET_STREAM),
        *_api("STREAM.MSG.GET", BUCKET_STREAM),
        *(f"countline.logs.{name}" for name in names),
        *(f"countline.parts.{name}.*" for name in names),
        f"$KV.{BUCKET}.base.{user}",
    )


def _inbox(user: str) -> str:
    return f"{bus.inbox_prefix(user)}.>"


USERS: Final = (
    BusUser(
        CONTROL,
        "control-plane: its services publish domain events and rows of the audit; auth stores and signs the audit",
        (
            *_every_part(CONTROL, *_SERVICES),
            "countline.domain.*.*",
            *(bus.audit_subject(service) for service in ("auth", "cameras", "models", "workers")),
            *(bus.checkpoint_subject(purge=purge) for purge in (False, True)),
            bus.dlq_subject(bus.AUDIT),
            bus.dlq_subject(bus.TRIALS),
            f"$KV.{BUCKET}.state",
            f"$O.{MODEL_BUCKET}.>",
            *_api("STREAM.CREATE", *_STREAMS, BUCKET_STREAM, _MODELS),
            *_api("STREAM.UPDATE", bus.AUDIT, bus.AUDIT_CHECKPOINTS),
            *_api("STREAM.INFO", _MODELS),
            "$JS.API.STREAM.NAMES",
            *_api("STREAM.MSG.GET", bus.AUDIT_CHECKPOINTS, _MODELS, *DATED_STREAMS),
            *_api("CONSUMER.LIST", *DATED_STREAMS),
            *_api("STREAM.PURGE", _MODELS),
            *_reads(bus.AUDIT, "audit"),
            *_reads(bus.TRIALS, "models"),
            *(each for stream in (bus.DOMAIN, bus.AUDIT_CHECKPOINTS, bus.LOGS, bus.PARTS) for each in _reads(stream)),
            *(each for stream in (BUCKET_STREAM, _MODELS) for each in (*_reads(stream), *_reads_ordered(stream))),
        ),
        (_inbox(CONTROL),),
    ),
    BusUser(
        INGEST,
        "ingest: moves counts into the database",
        (
            *_every_part(INGEST, INGEST),
            bus.dlq_subject(bus.COUNTS),
            *_reads(bus.COUNTS, "ingest"),
            *_reads(bus.DOMAIN, "analytics-sites"),
            *_api("STREAM.PURGE", bus.COUNTS),
        ),
        (_inbox(INGEST),),
    ),
    BusUser(
        API,
        "api: REST and WebSocket of analytics, live pictures and statuses for browsers",
        (
            *_every_part(API, API),
            bus.audit_subject("analytics"),
            "countline.watch.*",
            *_reads(bus.DOMAIN),
            *_reads(bus.STATUS),
        ),
        (
            _inbox(API),
            "countline.status.*",
            "countline.live.*",
            "countline.preview.*",
            "countline.domain.camera.*",
            "countline.domain.site.*",
        ),
    ),
    BusUser(
        WORKER,
        "every worker: publishes counts, statuses, trials, boxes and pictures",
        (
            *_every_part(WORKER, WORKER),
            "countline.counts.*.*",
            "countline.status.*",
            "countline.trials.*.*",
            "countline.live.*",
            "countline.preview.*",
        ),
        (_inbox(WORKER), "countline.watch.*"),
    ),
    BusUser(UP, "`countline up`: shows changed cameras", (), (_inbox(UP), "countline.domain.camera.*")),
    BusUser(OPERATOR, "people who repair something; no part uses it", is_free=True),
)
_OF: Final = {user.name: user for user in USERS}
_EARLIER: Final = BusUser(
    EARLIER_USER,
    "workers of earlier releases, if there is the password file of one",
    _OF[WORKER].publish,
    (*_OF[WORKER].subscribe, "_INBOX.>"),
)


def password_file(user: str) -> str:
    """Name of the file with a user's password, among the credentials."""
    return EARLIER_PASSWORD if user == EARLIER_USER else f"nats-{user}-password"


def users_block(passwords: Mapping[str, str]) -> str:
    """Return the users as a part of NATS's configuration, inside `authorization`.

    Args:
        passwords: by user. The user of earlier releases exists only if its password is given.
    """
    users = [*USERS, *([_EARLIER] if EARLIER_USER in passwords else [])]
    return "users: [\n" + "".join(_user_block(user, passwords[user.name]) for user in users) + "]\n"


def _user_block(user: BusUser, password: str) -> str:
    login = f"    user: {quoted(user.name)}\n    password: {quoted(password)}\n"
    if user.is_free:
        return f"  {{\n{login}  }}\n"
    rights = f"      publish: {_rule(user.publish)}\n      subscribe: {_rule(user.subscribe)}\n"
    return f"  {{\n{login}    permissions: {{\n{rights}    }}\n  }}\n"


def _rule(subjects: tuple[str, ...]) -> str:
    if not subjects:
        return '{ deny: [">"] }'
    return "[\n" + "".join(f"        {quoted(subject)}\n" for subject in subjects) + "      ]"


def quoted(text: str) -> str:
    r"""A string of NATS's configuration. It knows the escapes of `\\`, `\"`, `\n`, `\r`, `\t` and `\xHH` of a byte."""
    escapes = {"\\": r"\\", '"': r"\"", "\n": r"\n", "\r": r"\r", "\t": r"\t"}
    return '"' + "".join(escapes.get(letter, letter) for letter in text) + '"'
