"""Reads YAML that people write into nodes that know their line, within bounds.

Aliases are refused: a few lines of them can stand for millions of values.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import yaml
from yaml.reader import Reader

from countline_common.files.lined_yaml import LinedYaml, LineProblem

MOST_DEEP: Final = 12
"""Levels of lists and mappings in one another; the fields of a camera need five."""
MOST_ENTRIES: Final = 5_000
"""Sites and cameras in one call: a plan of more is not read by a person, and takes minutes."""
_SHOWN: Final = 80

# libyaml reads 200 cameras in a twentieth of the time; wheels of PyYAML contain it.
_LOADER: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True, slots=True)
class FileProblem:
    """What is wrong, and where; lines count from 1."""

    file: str
    line: int
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.message}"


@dataclass(frozen=True, slots=True)
class Entry:
    """One site or camera of a file, not read yet."""

    kind: str
    """The key under which it stands, such as `cameras`."""
    key: str
    """Its id."""
    node: yaml.Node
    line: int


class FileReader(LinedYaml):
    """Reads one file and gathers problems.

    Args:
        file: its name, for problems.
    """

    def __init__(self, file: str) -> None:
        super().__init__()
        self.file = file

    def file_problems(self) -> list[FileProblem]:
        """Return what is wrong, by line."""
        ordered = sorted(self.problems, key=lambda problem: problem.line)
        return [FileProblem(self.file, problem.line, problem.message) for problem in ordered]

    def entries(self, text: str, kinds: frozenset[str]) -> list[Entry]:
        """Return the entries of all documents of a YAML text.

        Args:
            text: of the file.
            kinds: the keys that a document may have.
        """
        refused = _refusal(text)
        if refused is not None:
            self.problems.append(refused)
            return []
        documents = [node for node in yaml.compose_all(text, Loader=_LOADER) if not _is_null(node)]
        if not documents:
            known = " or ".join(f"`{kind}`" for kind in sorted(kinds))
            self.problems.append(LineProblem(1, f"the file is empty; it needs {known}"))
        return [entry for document in documents for entry in self._of_document(document, kinds)]

    def _of_document(self, document: yaml.Node, kinds: frozenset[str]) -> Iterator[Entry]:
        for kind, things in self.fields(document, "the file", kinds):
            if _is_null(things):
                continue
            for key, node in self.fields(things, f"`{kind.value}`", None):
                yield Entry(str(kind.value), str(key.value), node, key.start_mark.line + 1)


def _is_null(node: yaml.Node | None) -> bool:
    return node is None or node.tag == "tag:yaml.org,2002:null"


def _refusal(text: str) -> LineProblem | None:
    """Return what keeps a text from being read; None if nothing does. Takes memory for one event at a time."""
    if found := Reader.NON_PRINTABLE.search(text):
        line = text.count("\n", 0, found.start()) + 1
        return LineProblem(line, f"contains the control character U+{ord(found[0]):04X}; remove it")
    depth = 0
    try:
        for event in yaml.parse(text, Loader=_LOADER):
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if problem := _event_problem(event, depth):
                return LineProblem(event.start_mark.line + 1 if event.start_mark else 1, problem)
    except yaml.YAMLError as error:
        return _syntax_problem(text, error)
    return None


def _event_problem(event: yaml.Event, depth: int) -> str:
    if isinstance(event, yaml.AliasEvent):
        name = str(event.anchor)[:_SHOWN]
        return f"*{name} repeats another part of the file; aliases are not read, write the part again"
    if depth > MOST_DEEP:
        return f"has lists or mappings more than {MOST_DEEP} deep; see docs/declarative.md for the form of a file"
    tag = getattr(event, "tag", None)
    if tag is not None and tag != "!":
        return f"has the tag {str(tag)[:_SHOWN]}; tags are not read, leave it out"
    return ""


def _syntax_problem(text: str, error: yaml.YAMLError) -> LineProblem:
    mark = getattr(error, "problem_mark", None)
    line = mark.line + 1 if mark else 1
    lines = text.split("\n")
    # The parser stops at the tab, or at the line that follows the one with the tab.
    for number in range(line, max(line - 2, 0), -1):
        written = lines[number - 1] if number <= len(lines) else ""
        if "\t" in written[: len(written) - len(written.lstrip())]:
            return LineProblem(number, "is indented with a tab; YAML needs spaces")
    problem = getattr(error, "problem", None) or type(error).__name__
    context = getattr(error, "context", None)
    return LineProblem(line, f"is not YAML: {problem}{f' ({context})' if context else ''}")


def read_node(node: yaml.Node, read: Callable[[str], Any]) -> Any:
    """Read the text of a scalar node.

    Raises:
        ValueError: the node is a list or mapping, or `read` raises it.
    """
    if not isinstance(node, yaml.ScalarNode):
        raise ValueError("must be one value, not a list or mapping")  # noqa: TRY004  (a problem of the file)
    return read(str(node.value))
