"""What files state of sites and cameras. What they leave out stays as it is; `null` stands for the default."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote

import yaml

from countline_common.redaction import MASK
from countline_control.declarative.documents import MOST_ENTRIES, Entry, FileProblem, FileReader, read_node
from countline_control.declarative.fields import CAMERA_FIELDS, LIST_FIELDS, SITE_FIELDS, Field, item_id
from countline_control.declarative.tables import table_entries

SITES: Final = "sites"
CAMERAS: Final = "cameras"
KINDS: Final = frozenset({SITES, CAMERAS})
SITE: Final = "site"
FROM_ENV: Final = "password_env"
FROM_FILE: Final = "password_file"
_MORE_OF_CAMERA: Final = (SITE, FROM_ENV, FROM_FILE)
_NULL: Final = "tag:yaml.org,2002:null"


@dataclass(frozen=True, slots=True)
class Stated:
    """What a file states of one site or camera."""

    kind: str
    key: str
    file: str
    line: int
    values: Mapping[str, Any]
    """By the name of a field; what is left out is not among them."""
    more: Mapping[str, str] = field(default_factory=dict)
    """Of a camera: its site, and where its password is."""
    lines: Mapping[str, int] = field(default_factory=dict)
    """Lines of the fields, and of `FIELD/ID` for lines, zones and masks."""

    def problem(self, message: str, name: str = "") -> FileProblem:
        """Return a problem of this thing, with the line of a field if it is known."""
        return FileProblem(self.file, self.lines.get(name, self.line), f"{self.kind[:-1]} {self.key[:63]}: {message}")


@dataclass(frozen=True, slots=True)
class Statement:
    """What all files of a call state."""

    sites: Mapping[str, Stated]
    cameras: Mapping[str, Stated]
    problems: tuple[FileProblem, ...]

    @property
    def owned_sites(self) -> frozenset[str]:
        """Sites of which the files state which cameras they have."""
        return frozenset(self.sites) | {stated.more[SITE] for stated in self.cameras.values() if SITE in stated.more}


def read_statement(texts: Sequence[tuple[str, str]]) -> Statement:
    """Read files.

    Args:
        texts: name and text of each; a name that ends with `.csv` is a table of cameras.
    """
    found: dict[str, dict[str, Stated]] = {SITES: {}, CAMERAS: {}}
    problems: list[FileProblem] = []
    for file, text in texts:
        reader = FileReader(file)
        for entry in _entries(reader, text):
            stated = _stated(reader, entry)
            earlier = found[entry.kind].get(entry.key)
            if earlier is not None:
                problems.append(stated.problem(f"is already stated in {earlier.file}:{earlier.line}; leave one out"))
            found[entry.kind].setdefault(entry.key, stated)
        problems += reader.file_problems()
    number = sum(map(len, found.values()))
    if number > MOST_ENTRIES:
        message = f"{number} sites and cameras are stated; {MOST_ENTRIES} is the limit of one call, give fewer files"
        problems = [FileProblem(texts[-1][0], 1, message)]
    return Statement(found[SITES], found[CAMERAS], tuple(problems))


def _entries(reader: FileReader, text: str) -> list[Entry]:
    if reader.file.lower().endswith(".csv"):
        return table_entries(reader, text, LIST_FIELDS)
    return reader.entries(text, KINDS)


def _stated(reader: FileReader, entry: Entry) -> Stated:
    fields: Sequence[Field[Any]] = SITE_FIELDS if entry.kind == SITES else CAMERA_FIELDS
    more = () if entry.kind == SITES else _MORE_OF_CAMERA
    known = {each.name: each for each in fields}
    what = f"{entry.kind[:-1]} {entry.key[:63]!r}"
    values: dict[str, Any] = {}
    texts: dict[str, str] = {}
    lines: dict[str, int] = {}
    if entry.kind == CAMERAS or not _is_null(entry.node):
        for key, node in reader.fields(entry.node, what, frozenset([*known, *more])):
            name = str(key.value)
            lines[name] = key.start_mark.line + 1
            if name in known:
                _read_field(reader, known[name], node, f"{what}: `{name}`", values, lines)
            elif (text := _text(reader, node, f"{what}: `{name}`")) is not None:
                texts[name] = text
    stated = Stated(entry.kind, entry.key, reader.file, entry.line, values, texts, lines)
    _check(reader, stated, entry, what)
    return stated


def _read_field(
    reader: FileReader, known: Field[Any], node: yaml.Node, what: str, values: dict[str, Any], lines: dict[str, int]
) -> None:
    if _is_null(node):
        values[known.name] = known.empty
        return
    value = known.form.value_of(reader, node, what)
    if value is None:
        return
    values[known.name] = value
    if known.name in LIST_FIELDS and known.path in ("spec.lines", "spec.zones", "spec.masks"):
        for item, part in zip(value, node.value, strict=True):
            lines[f"{known.name}/{item_id(item)}"] = part.start_mark.line + 1


def _text(reader: FileReader, node: yaml.Node, what: str) -> str | None:
    try:
        return str(read_node(node, str))
    except ValueError as error:
        reader.report(node, f"{what}: {error}")
        return None


def _check(reader: FileReader, stated: Stated, entry: Entry, what: str) -> None:
    if stated.kind == CAMERAS and not stated.more.get(SITE):
        reader.report(entry.node, f"{what} names no `site`; write the id of its site")
    if FROM_ENV in stated.more and FROM_FILE in stated.more:
        reader.report(entry.node, f"{what} has both `{FROM_ENV}` and `{FROM_FILE}`; leave one out")
    if stated.more.keys() & {FROM_ENV, FROM_FILE} and stated.values.get("stream_url", "").count(MASK) != 1:
        reader.report(
            entry.node, f"{what} has a password, so `stream_url` must hold {MASK} once, in place of the password"
        )


def _is_null(node: yaml.Node) -> bool:
    return bool(node.tag == _NULL)


def with_password(stream_url: str, password: str) -> str:
    """Return an address with the password in place of `***`."""
    return stream_url.replace(MASK, quote(password, safe=""))
