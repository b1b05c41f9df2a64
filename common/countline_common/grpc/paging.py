"""Pages of a list: a bounded size, and an opaque token that names the key after which the next page begins."""

import base64
import json
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Final, Protocol, TypeVar

from countline_common.errors import FieldProblem, InvalidInputError
from countline_common.grpc.texts import text_problem
from countline_common.untrusted_json import parse_json

DEFAULT_SIZE: Final = 100
MAX_SIZE: Final = 1000


@dataclass(frozen=True, slots=True)
class Page:
    """The rows of one page: at most `size`, those that follow the key `after`; empty for the first page."""

    size: int
    after: str


def page(page_size: int, page_token: str, filters: str = "") -> Page:
    """The page that a request asks for.

    Args:
        page_size: 0 means 100; more than 1000 means 1000.
        page_token: empty for the first page.
        filters: the filters of the request; a token is valid only with the filters it was made for.

    Raises:
        InvalidInputError: the size is negative, or the token was not made by `next_token`.
    """
    if page_size < 0:
        raise invalid_page("page_size", "is negative; give 1 to 1000, or 0 for 100")
    return Page(min(page_size or DEFAULT_SIZE, MAX_SIZE), _after(page_token, filters) if page_token else "")


def next_token(last_key: str, filters: str = "") -> str:
    """The token of the page that begins after a key."""
    return base64.urlsafe_b64encode(json.dumps([last_key, filters]).encode()).decode()


def _after(token: str, filters: str) -> str:
    try:
        last_key, given_for = parse_json(base64.urlsafe_b64decode(token.encode()).decode())
    except (ValueError, TypeError) as error:
        raise invalid_page("page_token", "is not one that this service gave; begin without one") from error
    if not isinstance(last_key, str) or text_problem(last_key):
        raise invalid_page("page_token", "is not one that this service gave; begin without one")
    if given_for != filters:
        raise invalid_page("page_token", "belongs to a list with other filters; begin without one")
    return last_key


def invalid_page(field: str, problem: str) -> InvalidInputError:
    """The error for a wrong field of a page; what follows a semicolon is advice and is left out of the message."""
    return InvalidInputError(f"{field} {problem.partition(';')[0]}", fields=(FieldProblem(field, problem),))


class Listed(Protocol):
    """The response of a list method."""

    @property
    def next_page_token(self) -> str:
        """Of the page that follows; empty on the last page."""
        ...


_Response = TypeVar("_Response", bound=Listed)
_Item = TypeVar("_Item")


async def first_items(
    limit: int, call: Callable[[int, str], Awaitable[_Response]], items: Callable[[_Response], Iterable[_Item]]
) -> list[_Item]:
    """The first items of a list method, at most `limit`, over as many pages as that takes.

    Args:
        limit: most items; positive.
        call: calls the method with a page size and a page token; the first token is empty.
        items: the items of a response.
    """
    found: list[_Item] = []
    token = ""
    while True:
        response = await call(min(limit - len(found), MAX_SIZE), token)
        found.extend(items(response))
        token = response.next_page_token
        if not token or len(found) >= limit:
            return found


async def every_page(
    call: Callable[[str], Awaitable[_Response]], items: Callable[[_Response], Iterable[_Item]]
) -> list[_Item]:
    """All items of a list method, over all pages.

    Args:
        call: calls the method with a page token; the first token is empty.
        items: the items of a response.
    """
    found: list[_Item] = []
    token = ""
    while True:
        response = await call(token)
        found.extend(items(response))
        token = response.next_page_token
        if not token:
            return found
