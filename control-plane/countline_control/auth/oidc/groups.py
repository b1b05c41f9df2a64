"""Maps the groups of a person at the provider to roles. Pure.

A mapping is a YAML file; JSON is YAML too:

    groups:
      - {group: counting-admins, role: admin}
      - {group: shop-staff, role: operator, site: shop}
      - {group: door-team, role: viewer, cameras: [door, gate]}
      - {group: "*", role: guest}             # everyone whom the provider lets in
"""

import re
import unicodedata
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import yaml

from countline_common.access.scopes import EVERYTHING, Held, Scope
from countline_common.files.lined_yaml import LineProblem, shown
from countline_control.auth.access.roles import MACHINE_ROLES, Role
from countline_control.auth.access.scoped_yaml import ScopedYaml
from countline_control.auth.domain import LONGEST_PROFILE, Grant

ANYONE: Final = "*"
MOST_GROUPS: Final = 10_000
FIELDS: Final = frozenset({"group", "role", "site", "cameras"})
LONGEST_NAME: Final = 56
"""Leaves room for a number behind it."""
_NOT_IN_NAMES: Final = re.compile(r"[^A-Za-z0-9._@+-]+")
_SIGNS: Final = "._@+-"


@dataclass(frozen=True, slots=True)
class GroupRule:
    """Gives a role to each member of a group."""

    line: int
    group: str
    role: str
    scope: Scope


@dataclass(frozen=True, slots=True)
class GroupFile:
    """What a file holds."""

    rules: tuple[GroupRule, ...]
    problems: tuple[LineProblem, ...]


@dataclass(frozen=True, slots=True)
class ProviderPerson:
    """A person as the provider describes them."""

    issuer: str
    subject: str
    """Id at the provider. A link goes by this alone: names and addresses change and are given to other people."""
    groups: frozenset[str] = frozenset()
    username: str = "user"
    """A name for a new user; it may be taken."""
    display_name: str = ""
    email: str = ""


def read_group_file(text: str) -> GroupFile:
    """Read a mapping. Whether its custom roles, sites and cameras exist is not known here."""
    reader = _Reader()
    document = reader.read(text, "`groups`")
    if document is None:
        return GroupFile((), tuple(reader.problems))
    parts = {key.value: value for key, value in reader.fields(document, "the file", frozenset({"groups"}))}
    groups = parts.get("groups")
    if not isinstance(groups, yaml.SequenceNode):
        if not reader.problems:
            reader.report(groups or document, "the file needs `groups`, a list")
        return GroupFile((), tuple(reader.problems))
    found = [reader.rule(node) for node in groups.value]
    return GroupFile(tuple(each for each in found if each is not None), tuple(reader.problems))


class _Reader(ScopedYaml):
    def rule(self, node: yaml.Node) -> GroupRule | None:
        before = len(self.problems)
        fields = {key.value: value for key, value in self.fields(node, "an entry", FIELDS)}
        for name in ("group", "role"):
            value = fields.get(name)
            if len(self.problems) == before and (not isinstance(value, yaml.ScalarNode) or not value.value):
                self.report(value or node, f"an entry names no {name}: {shown(value)}")
        if len(self.problems) > before:
            return None
        role = str(fields["role"].value)
        if role in MACHINE_ROLES:
            self.report(fields["role"], f"role {role!r} is for service accounts only")
        scope = self.scope(node, fields, "the entry")
        if len(self.problems) > before:
            return None
        return GroupRule(node.start_mark.line + 1, str(fields["group"].value), role, scope)


def unknown_roles(rules: Iterable[GroupRule], known: Collection[str]) -> tuple[LineProblem, ...]:
    """Return the rules whose role does not exist."""
    return tuple(LineProblem(each.line, f"{each.role[:80]!r} is no role") for each in rules if each.role not in known)


def grants_of_groups(
    rules: Iterable[GroupRule], groups: Collection[str], known: Mapping[str, Role]
) -> tuple[Grant, ...]:
    """Return what the groups of a person give, and nothing else.

    Args:
        rules: of the mapping.
        groups: of the person.
        known: every role; a rule of another one gives nothing.
    """
    matching = [rule for rule in rules if rule.role in known and (rule.group == ANYONE or rule.group in groups)]
    wanted = dict.fromkeys((rule.role, rule.scope) for rule in matching)
    everywhere = {role for role, scope in wanted if scope == EVERYTHING}
    return tuple(
        Grant(role, known[role].permissions, scope, from_groups=True)
        for role, scope in wanted
        if scope == EVERYTHING or role not in everywhere
    )


def held_of_groups(rules: Iterable[GroupRule], known: Mapping[str, Role]) -> tuple[Held, ...]:
    """Return what a member of all groups holds: a bound for what the groups of any person can give."""
    return tuple(Held(known[rule.role].permissions, rule.scope) for rule in rules if rule.role in known)


def regranted(stored: Iterable[Grant], mapped: Sequence[Grant]) -> tuple[Grant, ...]:
    """Return the grants of a user after a login: those from groups are replaced, others stay.

    Args:
        stored: the grants before.
        mapped: what the groups give now.
    """
    kept = tuple(grant for grant in stored if not grant.from_groups)
    taken = {(grant.role, grant.scope) for grant in kept}
    return (*kept, *(grant for grant in mapped if (grant.role, grant.scope) not in taken))


def claimed_groups(claims: Mapping[str, Any], name: str) -> frozenset[str] | None:
    """Return the groups that a claim lists; None if there is no such claim.

    Args:
        claims: of the provider.
        name: of the claim; `realm_access.roles` is a claim inside another one, unless a claim has this very name.
    """
    value: Any = claims.get(name)
    if value is None:
        value = claims
        for part in name.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
    if isinstance(value, str):
        return frozenset({value})
    if not isinstance(value, list):
        return None
    return frozenset(each for each in value[:MOST_GROUPS] if isinstance(each, str))


def person_of(claims: Mapping[str, Any], groups_claim: str) -> ProviderPerson:
    """Return the person whom checked claims describe."""
    email = _text(claims, "email")
    names = (_text(claims, "preferred_username"), email.partition("@")[0], _text(claims, "name"))
    usable = [name for name in map(username_like, names) if name]
    return ProviderPerson(
        issuer=str(claims["iss"]),
        subject=str(claims["sub"]),
        groups=claimed_groups(claims, groups_claim) or frozenset(),
        username=usable[0] if usable else "user",
        display_name=_text(claims, "name"),
        email=email,
    )


def username_like(text: str) -> str:
    """Return the characters of a text that a user name may have; empty if nothing is left.

    >>> username_like("José Ñandú (Lab)")
    'Jose-Nandu-Lab'
    """
    plain = "".join(sign for sign in unicodedata.normalize("NFKD", text) if not unicodedata.combining(sign))
    return _NOT_IN_NAMES.sub("-", plain).strip(_SIGNS)[:LONGEST_NAME].rstrip(_SIGNS)


def _text(claims: Mapping[str, Any], name: str) -> str:
    """Return a claim as a text that can be stored."""
    value = claims.get(name)
    return "".join(filter(str.isprintable, value))[:LONGEST_PROFILE].strip() if isinstance(value, str) else ""
