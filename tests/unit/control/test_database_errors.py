"""What callers learn of the refusals of the database."""

import psycopg.errors
from sqlalchemy.exc import OperationalError

from countline_common.data.database import is_away
from countline_common.errors import ResourceExhaustedError
from countline_control.database import translate


def test_a_full_disk_of_the_database_is_named_with_what_to_do() -> None:
    """It was an internal error, with the advice to report it."""
    refused = OperationalError("INSERT", {}, psycopg.errors.DiskFull("could not extend file"))
    found = translate(refused)
    assert isinstance(found, ResourceExhaustedError)
    assert "free some disk space" in found.hint
    assert not is_away(refused)
