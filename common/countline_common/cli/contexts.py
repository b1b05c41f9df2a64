"""Shell completion of context names. Imports little, since `countline` itself has the option."""


def complete_context(incomplete: str) -> list[str]:
    """Names of contexts that begin with the incomplete word."""
    from countline_common.contexts.store import ContextStore
    from countline_common.errors import CountlineError

    try:
        names = ContextStore().load().by_name
    except (CountlineError, OSError):  # the shell cannot show an error during completion
        return []
    return [name for name in names if name.startswith(incomplete)]
