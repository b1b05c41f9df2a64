"""Pages of a list: a size with a bound, and a token that says after which key the next page begins."""

import base64
import binascii
import json
from dataclasses import dataclass
from typing import Final

from countline_common.errors import FieldProblem, InvalidInputError

DEFAULT_SIZE: Final = 100
MAX_SIZE: Final = 1000


@dataclass(frozen=True, slots=True)
class Page:
    """Which rows to give: at most `size`, those whose key is greater than `after`."""

    size: int
    after: str


def page(page_size: int, page_token: str, filters: str = "") -> Page:
    """The page that a request asks for.

    Args:
        page_size: 0 stands for 100; more than 1000 gives 1000.
        page_token: empty for the first page.
        filters: the filters of the request; a token is good only for those that it was given for.

    Raises:
        InvalidInputError: the size is negative or the token is not one of ours.
    """
    if page_size < 0:
        raise _invalid("page_size", "is negative; give 1 to 1000, or 0 for 100")
    return Page(min(page_size or DEFAULT_SIZE, MAX_SIZE), _after(page_token, filters) if page_token else "")


def next_token(last_key: str, filters: str = "") -> str:
    """The token of the page that begins after a key."""
    return base64.urlsafe_b64encode(json.dumps([last_key, filters]).encode()).decode()


def _after(token: str, filters: str) -> str:
    try:
        last_key, given_for = json.loads(base64.urlsafe_b64decode(token.encode()))
    except (ValueError, binascii.Error, UnicodeError, TypeError) as error:
        raise _invalid("page_token", "is not one that this service gave; begin without one") from error
    if given_for != filters or not isinstance(last_key, str):
        raise _invalid("page_token", "belongs to a list with other filters; begin without one")
    return last_key


def _invalid(field: str, problem: str) -> InvalidInputError:
    return InvalidInputError(f"{field} {problem.partition(';')[0]}", fields=(FieldProblem(field, problem),))
