"""Takes secrets out of texts: those that this machine knows, and what looks like one. Pure."""

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from countline_common.redaction import MASK, SECRET_KEYS, redact

LEAST_SECRET: Final = 8
"""Characters. A shorter text, such as `admin`, would be masked wherever it occurs by chance."""
_TOKEN: Final = re.compile(r"\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*")
"""A JSON Web Token."""
_PRIVATE_KEY: Final = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)")
_FILE_ENDINGS: Final = ("FILE", "COMMAND")
"""Of variables that name where a secret is."""


class Scrubber:
    """Replaces secrets by `***`.

    Args:
        secrets: texts that must not be in any output. Short ones are ignored, see `LEAST_SECRET`.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        long = {secret for secret in secrets if len(secret) >= LEAST_SECRET}
        # The longest first: a secret may contain another one.
        ordered = sorted(long, key=len, reverse=True)
        self._known = re.compile("|".join(map(re.escape, ordered))) if ordered else None

    def text(self, text: str) -> str:
        """A text of one or many lines, without its secrets."""
        if self._known is not None:
            text = self._known.sub(MASK, text)
        text = _PRIVATE_KEY.sub(MASK, _TOKEN.sub(MASK, text))
        return "\n".join(map(redact, text.split("\n")))

    def value(self, value: Any) -> Any:
        """What `json.dumps` takes, with every text in it scrubbed, keys included; `***` under the name of a secret."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return {self.text(str(key)): self._member(str(key), each) for key, each in value.items()}
        if isinstance(value, list | tuple):
            return [self.value(each) for each in value]
        return value

    def _member(self, name: str, value: Any) -> Any:
        return MASK if isinstance(value, str) and value and names_secret(name) else self.value(value)


def shown_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """The settings of Countline in an environment; secrets are masked by their names."""
    return {
        name: MASK if value and names_secret(name) else value
        for name, value in sorted(environment.items())
        if name.startswith("COUNTLINE_")
    }


def names_secret(variable: str) -> bool:
    """Whether a variable of the environment holds a secret, and not the place of one.

    >>> names_secret("COUNTLINE_MASTER_KEY"), names_secret("COUNTLINE_MASTER_KEY_FILE")
    (True, False)
    """
    words = variable.upper().split("_")
    return words[-1] not in _FILE_ENDINGS and words[-1].lower() in SECRET_KEYS
