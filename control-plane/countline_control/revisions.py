"""Changes that callers make to what they have read before."""

from countline_common.errors import StaleRevisionError


def check_revision(what: str, revision: int, given: int) -> None:
    """Check that a caller changes the current state.

    Args:
        what: what is changed, such as `camera 'door'`.
        revision: the current one.
        given: the one that the caller has read; 0 if it does not say.

    Raises:
        StaleRevisionError: the caller has read an earlier one.
    """
    if given and given != revision:
        raise StaleRevisionError(
            f"{what} was changed meanwhile: it has revision {revision}, not {given}",
            hint="read it again and repeat the change",
        )
