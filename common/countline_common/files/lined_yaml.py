"""Reads YAML files that people write, and names each problem with its line. Pure. JSON is YAML too."""

from collections.abc import Iterator
from dataclasses import dataclass

import yaml


@dataclass(frozen=True, slots=True)
class LineProblem:
    """What is wrong, and in which line; lines count from 1."""

    line: int
    message: str


class LinedYaml:
    """Reads one document and gathers problems."""

    def __init__(self) -> None:
        self.problems: list[LineProblem] = []

    def report(self, node: yaml.Node, message: str) -> None:
        """Add a problem with the line of a node."""
        self.problems.append(LineProblem(node.start_mark.line + 1, message))

    def read(self, text: str, needed: str) -> yaml.Node | None:
        """Return the document; None, with a problem, if there is none.

        Args:
            text: of the file.
            needed: what the file needs, for the message about an empty one.
        """
        try:
            document = yaml.compose(text, Loader=yaml.SafeLoader)
        except (yaml.YAMLError, RecursionError) as error:
            mark = getattr(error, "problem_mark", None)
            problem = f"is not YAML: {getattr(error, 'problem', None) or type(error).__name__}"
            self.problems.append(LineProblem(mark.line + 1 if mark else 1, problem))
            return None
        if document is None:
            self.problems.append(LineProblem(1, f"the file is empty; it needs {needed}"))
        return document

    def fields(self, node: yaml.Node, what: str, known: frozenset[str] | None) -> Iterator[tuple[yaml.Node, yaml.Node]]:
        """Yield keys with values of a mapping; a key that is not known, or stands twice, is a problem."""
        if not isinstance(node, yaml.MappingNode):
            self.report(node, f"{what} must be a mapping")
            return
        seen = set()
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                self.report(key, f"a field of {what} is no text")
            elif known is not None and key.value not in known:
                self.report(key, f"{what} has no field {str(key.value)[:80]!r}; known: {', '.join(sorted(known))}")
            elif str(key.value) in seen:
                self.report(key, f"{str(key.value)[:80]!r} stands twice in {what}")
            else:
                seen.add(str(key.value))
                yield key, value

    def texts(self, node: yaml.Node, what: str) -> frozenset[str]:
        """Return a list of texts."""
        items = node.value if isinstance(node, yaml.SequenceNode) else None
        if items is None or not all(isinstance(item, yaml.ScalarNode) for item in items):
            self.report(node, f"{what} must be a list of names")
            return frozenset()
        return frozenset(str(item.value) for item in items)


def shown(node: yaml.Node | None) -> str:
    """Return the text of a node for a message."""
    return "nothing" if node is None else repr(str(node.value)[:80])
