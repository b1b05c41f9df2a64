"""The addresses of one Countline's services."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from countline_common.errors import InvalidInputError, NotFoundError, NotRunningError
from countline_common.files.text_files import read_text
from countline_common.settings import host_port


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Addresses of the services: `host:port` for gRPC, a URL for the gateway."""

    auth: str
    cameras: str
    workers: str
    gateway: str
    models: str = ""
    """Empty if the server has no models service, or if its address is unknown."""
    tls: bool = False
    """Whether the services of a data folder use TLS, with the certificates of that folder."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `HOST` (services on their default ports), a file of endpoints, or `auth=HOST:PORT,cameras=…,…`.

        Raises:
            InvalidInputError: the text has none of these forms.
        """
        if "=" in text:
            parts = dict(part.partition("=")[::2] for part in text.split(","))
            return cls._checked(parts, text)
        if text.endswith(".json"):
            return cls.from_file(Path(text))
        if not text or "/" in text or (":" in text.strip("[]").rpartition("]")[2] and not text.startswith("[")):
            raise InvalidInputError(
                f"{text!r} is not a server address",
                hint="give HOST, or auth=HOST:PORT,cameras=…,workers=…,models=…,gateway=URL",
            )
        return cls(f"{text}:3001", f"{text}:8000", f"{text}:8003", f"http://{text}:8080", f"{text}:8005")

    @classmethod
    def from_file(cls, path: Path) -> Self:
        """Read a file such as `run/endpoints.json` in the data folder.

        Raises:
            NotRunningError: the file does not exist, so no Countline runs from that folder.
            InvalidInputError: the content is not a set of endpoints.
        """
        try:
            content = json.loads(read_text(path))
        except NotFoundError as error:
            raise NotRunningError(
                f"{path} not found: no Countline runs from this data folder", hint="start one: countline up"
            ) from error
        except ValueError as error:
            raise InvalidInputError(
                f"cannot read {path}: {error}", hint="restart Countline: it writes this file"
            ) from error
        return cls._checked(content, str(path))

    @classmethod
    def _checked(cls, parts: dict[str, Any], source: str) -> Self:
        names = ("auth", "cameras", "workers", "gateway")
        missing = [name for name in names if not isinstance(parts.get(name), str)]
        if missing:
            raise InvalidInputError(
                f"{source!r} has no address for {', '.join(missing)}",
                hint="give all: auth=HOST:PORT,cameras=HOST:PORT,workers=HOST:PORT,gateway=URL",
            )
        models = parts.get("models", "")
        for address in (*(parts[name] for name in names[:3]), *([models] if models else [])):
            host_port(address)
        return cls(**{name: parts[name] for name in names}, models=models, tls=parts.get("tls") is True)
