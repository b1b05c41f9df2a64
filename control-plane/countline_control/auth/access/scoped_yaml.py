"""Reads YAML files that name sites and cameras. Pure."""

from collections.abc import Mapping

import yaml

from countline_common.access.scopes import EVERYTHING, Scope
from countline_common.files.lined_yaml import LinedYaml
from countline_control.auth.access.holding import scope_problems


class ScopedYaml(LinedYaml):
    """Reads one document and gathers problems."""

    def scope(self, node: yaml.Node, fields: Mapping[str, yaml.Node], what: str) -> Scope:
        """Return the scope that the fields `site` or `cameras` name; everything if there is neither."""
        cameras = self.texts(fields["cameras"], "`cameras`") if "cameras" in fields else frozenset()
        site = fields.get("site")
        if site is not None and not isinstance(site, yaml.ScalarNode):
            self.report(site, "`site` must be a name")
            return EVERYTHING
        scope = Scope(str(site.value) if site is not None else "", cameras)
        if "site" in fields or "cameras" in fields:
            for problem in scope_problems(what, scope):
                self.report(node, f"{problem.field} {problem.message}")
        return scope
