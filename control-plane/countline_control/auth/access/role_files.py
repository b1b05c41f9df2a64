"""Reads files of custom roles, and names each problem with its line. Pure.

    roles:
      auditor:
        title: Reads the audit
        includes: [viewer]            # permissions of other roles, of this file or built in
        permissions: [audit:read]
    grants:                           # optional: what the file expects to be granted
      - {role: auditor, site: lab}
      - {role: auditor, cameras: [door]}

The file is YAML. JSON is YAML too.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter

import yaml

from countline_common.access.scopes import EVERYTHING, Scope
from countline_common.errors import InvalidInputError
from countline_common.files.lined_yaml import LineProblem, shown
from countline_control.auth.access.roles import BUILT_IN, Role, check_custom
from countline_control.auth.access.scoped_yaml import ScopedYaml

ROLE_KEYS = frozenset({"title", "permissions", "includes"})
GRANT_KEYS = frozenset({"role", "site", "cameras"})


@dataclass(frozen=True, slots=True)
class WrittenScope:
    """A scope that a file names, with its line."""

    line: int
    scope: Scope


@dataclass(frozen=True, slots=True)
class RoleFile:
    """What a file holds."""

    roles: tuple[Role, ...]
    scopes: tuple[WrittenScope, ...]
    problems: tuple[LineProblem, ...]


@dataclass(frozen=True, slots=True)
class _Written:
    line: int
    title: str
    permissions: frozenset[str]
    includes: frozenset[str]


class _Reader(ScopedYaml):
    """Reads one document and gathers problems."""

    def role(self, name: yaml.Node, node: yaml.Node) -> _Written:
        """Read one role."""
        what, title = f"role {str(name.value)[:80]!r}", ""
        lists: dict[str, frozenset[str]] = {}
        for key, value in self.fields(node, what, ROLE_KEYS):
            if key.value == "title":
                title = str(value.value) if isinstance(value, yaml.ScalarNode) else ""
            else:
                lists[key.value] = self.texts(value, f"`{key.value}` of {what}")
        line = name.start_mark.line + 1
        return _Written(line, title, lists.get("permissions", frozenset()), lists.get("includes", frozenset()))

    def grant(self, node: yaml.Node, known: Mapping[str, object]) -> WrittenScope | None:
        """Read one grant."""
        fields = {key.value: value for key, value in self.fields(node, "a grant", GRANT_KEYS)}
        role = fields.get("role")
        if role is None or str(role.value) not in known:
            self.report(role or node, f"a grant names no role of this file and no built-in one: {shown(role)}")
        scope = self.scope(node, fields, "the grant")
        if scope == EVERYTHING:
            return None
        return WrittenScope(node.start_mark.line + 1, scope)


def read_role_file(text: str) -> RoleFile:
    """Read a file of roles. Whether its sites and cameras exist is not known here."""
    reader = _Reader()
    document = reader.read(text, "`roles`")
    if document is None:
        return RoleFile((), (), tuple(reader.problems))
    parts = {key.value: value for key, value in reader.fields(document, "the file", frozenset({"roles", "grants"}))}
    written: dict[str, _Written] = {}
    if "roles" in parts:
        for name, node in reader.fields(parts["roles"], "`roles`", None):
            written[str(name.value)] = reader.role(name, node)
    elif not reader.problems:
        reader.report(document, "the file has no `roles`")
    roles = tuple(_resolved(written, reader))
    grants = parts.get("grants")
    if grants is not None and not isinstance(grants, yaml.SequenceNode):
        reader.report(grants, "`grants` must be a list")
    items = grants.value if isinstance(grants, yaml.SequenceNode) else ()
    scopes = [reader.grant(node, {**BUILT_IN, **written}) for node in items]
    problems = tuple(sorted(reader.problems, key=lambda problem: problem.line))
    return RoleFile(roles, tuple(each for each in scopes if each is not None), problems)


def _resolved(written: Mapping[str, _Written], reader: _Reader) -> Iterator[Role]:
    """Yield the roles with what they include, in an order in which included ones come first."""
    try:
        order = list(TopologicalSorter({name: role.includes for name, role in written.items()}).static_order())
    except CycleError as error:
        cycle = [str(name) for name in error.args[1]][::-1]
        reader.problems.append(LineProblem(written[cycle[0]].line, f"roles include each other: {' → '.join(cycle)}"))
        return
    held = {name: role.permissions for name, role in BUILT_IN.items()}
    for name in order:
        if name not in written:
            continue
        role = written[name]
        for missing in sorted(role.includes - held.keys()):
            problem = f"role {name[:80]!r} includes {missing[:80]!r}, which is no role"
            reader.problems.append(LineProblem(role.line, problem))
        permissions = role.permissions.union(*(held.get(other, frozenset()) for other in role.includes))
        found = Role(name, role.title, permissions)
        held.setdefault(name, permissions)
        try:
            check_custom(found)
        except InvalidInputError as error:
            for wrong in error.fields:
                text = f"role {name[:80]!r}: {wrong.field} {wrong.message}"
                reader.problems.append(LineProblem(role.line, text))
        yield found
