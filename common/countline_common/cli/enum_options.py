"""Options whose words are the values of an enum of the contract.

status: Annotated[int | None, enum_option(CameraStatus, "--status", help="Only cameras with this status.")] = None
"""

from typing import Any

import typer

from countline_common.http.rest_json import enum_words


def enum_option(enum: Any, *names: str, **how: Any) -> Any:
    """Return a `typer.Option` that takes a word of an enum and gives its number.

    Args:
        enum: of the contract, such as `CameraStatus`.
        names: of the option.
        how: further arguments of `typer.Option`.
    """
    words = enum_words(enum.DESCRIPTOR)

    def number_of(text: str) -> int:
        if text not in words:
            known = ", ".join(map(repr, words))
            raise typer.BadParameter(f"{text!r} is not one of {known}.")
        return words[text]

    def offered(incomplete: str) -> list[str]:
        return [word for word in words if word.startswith(incomplete)]

    return typer.Option(*names, parser=number_of, metavar=f"[{'|'.join(words)}]", autocompletion=offered, **how)
