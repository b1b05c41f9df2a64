"""The contexts of a user: one file in the user's configuration folder, of mode 0600.

Several commands may change it at once: each change holds a lock, and the file is replaced whole.
"""

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import platformdirs

from countline_common.contexts.context import MOST_CONTEXTS, VARIABLE, Context, check_name, named_context
from countline_common.errors import (
    AlreadyExistsError,
    CountlineError,
    InvalidInputError,
    NotFoundError,
    UnavailableError,
)
from countline_common.files.locks import try_lock
from countline_common.files.text_files import read_text
from countline_common.secrets.secret_files import FOLDER_MODE, write_secret

LOCK_TIMEOUT_S: Final = 10.0
POLL_S: Final = 0.02


@dataclass(frozen=True, slots=True)
class Contexts:
    """What the file holds."""

    by_name: dict[str, Context] = field(default_factory=dict)
    current: str = ""
    """The context that commands use by default; empty for none."""

    def get(self, name: str) -> Context:
        """Return a context.

        Raises:
            NotFoundError: there is none of this name.
        """
        if name not in self.by_name:
            raise NotFoundError(f"there is no context {name!r}", hint="list them: countline context list")
        return self.by_name[name]


class ContextStore:
    """The file of contexts.

    Args:
        folder: holds the file; the user's configuration folder by default.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or platformdirs.user_config_path("countline", appauthor=False)
        self._path = self.folder / "contexts.json"

    def load(self) -> Contexts:
        """Read the file; no file is no contexts.

        Raises:
            InvalidInputError: the file cannot be used.
        """
        try:
            content = json.loads(read_text(self._path))
        except NotFoundError:
            return Contexts()
        except ValueError as error:
            raise InvalidInputError(
                f"cannot read {self._path}: {error}", hint="correct the file, or move it away"
            ) from error
        return self._parsed(content)

    def _parsed(self, content: Any) -> Contexts:
        named = content.get("contexts") if isinstance(content, dict) else None
        current = content.get("current", "") if isinstance(content, dict) else ""
        if not isinstance(named, dict) or not isinstance(current, str):
            raise InvalidInputError(f"{self._path} holds no contexts", hint="correct the file, or move it away")
        read = {name: Context.read(each, f"context {name!r} in {self._path}") for name, each in named.items()}
        return Contexts(read, current if current in read else "")

    def add(self, name: str, context: Context, *, replaces: bool = False) -> None:
        """Store a context.

        Raises:
            InvalidInputError: name or context cannot be used.
            AlreadyExistsError: the name is taken, and `replaces` is false.
        """
        check_name(name)
        context.check(f"context {name!r}")
        with self._changed() as contexts:
            if name in contexts.by_name and not replaces:
                raise AlreadyExistsError(
                    f"there is a context {name!r} already: {contexts.by_name[name].place}",
                    hint="give another name, or --replace",
                )
            if len(contexts.by_name) >= MOST_CONTEXTS:
                raise InvalidInputError(
                    f"there are {MOST_CONTEXTS} contexts already", hint="remove some: countline context remove"
                )
            self._write({**contexts.by_name, name: context}, contexts.current)

    def use(self, name: str) -> None:
        """Make a context the default of later commands; empty for none.

        Raises:
            NotFoundError: there is no such context.
        """
        with self._changed() as contexts:
            if name:
                contexts.get(name)
            if name != contexts.current:
                self._write(contexts.by_name, name)

    def remove(self, name: str) -> Context:
        """Remove a context and return it.

        Raises:
            NotFoundError: there is no such context.
        """
        with self._changed() as contexts:
            removed = contexts.get(name)
            left = {each: context for each, context in contexts.by_name.items() if each != name}
            self._write(left, "" if contexts.current == name else contexts.current)
        return removed

    def key_file(self, name: str) -> Path:
        """Where the API key of a context is stored, if the command stores it."""
        return self.folder / "api-keys" / name

    def _write(self, by_name: dict[str, Context], current: str) -> None:
        named = {name: by_name[name].as_dict() for name in sorted(by_name)}
        write_secret(self._path, json.dumps({"current": current, "contexts": named}, indent=2))

    @contextmanager
    def _changed(self) -> Iterator[Contexts]:
        """Hold the lock, and give what the file holds.

        Raises:
            UnavailableError: another command holds the lock for too long.
        """
        self.folder.mkdir(parents=True, exist_ok=True, mode=FOLDER_MODE)
        descriptor = os.open(self.folder / "contexts.lock", os.O_RDWR | os.O_CREAT, 0o600)
        deadline = time.monotonic() + LOCK_TIMEOUT_S
        try:
            while not try_lock(descriptor):
                if time.monotonic() > deadline:
                    raise UnavailableError(
                        "another command has been changing the contexts for too long", hint="try again"
                    )
                time.sleep(POLL_S)
            yield self.load()
        finally:
            os.close(descriptor)


@dataclass(frozen=True, slots=True)
class ChosenContext:
    """The context of a command, and what chose it."""

    name: str
    context: Context
    reason: str
    """Such as `COUNTLINE_CONTEXT`."""


def explicit_context(store: ContextStore) -> ChosenContext | None:
    """The context that `countline --context` names; None without it.

    Raises:
        NotFoundError: there is no such context.
    """
    name = named_context.get()
    return _chosen(store.load(), name, "--context") if name else None


def default_context(store: ContextStore) -> ChosenContext | None:
    """The context of COUNTLINE_CONTEXT, else the one that `countline context use` chose; None without both.

    Raises:
        NotFoundError: COUNTLINE_CONTEXT names no context.
    """
    contexts = store.load()
    if name := os.environ.get(VARIABLE, ""):
        return _chosen(contexts, name, VARIABLE)
    return _chosen(contexts, contexts.current, "countline context use") if contexts.current else None


def _chosen(contexts: Contexts, name: str, reason: str) -> ChosenContext:
    try:
        return ChosenContext(name, contexts.get(name), reason)
    except CountlineError as error:
        raise NotFoundError(f"{reason}: {error.message}", hint=error.hint) from error
