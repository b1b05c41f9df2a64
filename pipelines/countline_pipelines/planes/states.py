"""A state with a table of the transitions that are legal."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Generic, TypeVar

from countline_common.errors import InternalError

S = TypeVar("S", bound=StrEnum)


class IllegalTransitionError(InternalError):
    """Something happened out of turn."""

    def __init__(self, name: str, present: StrEnum, wanted: StrEnum) -> None:
        super().__init__(f"{name} cannot go from {present.value} to {wanted.value}")


class StateMachine(Generic[S]):
    """The present state; refuses transitions that the table does not list.

    Args:
        name: of what has the state, for errors.
        first: the first state.
        legal: the states that may follow each state.
    """

    def __init__(self, name: str, first: S, legal: Mapping[S, frozenset[S]]) -> None:
        self._name = name
        self._legal = legal
        self.state = first

    def move(self, state: S) -> None:
        """Go to another state.

        Raises:
            IllegalTransitionError: the table does not list the transition.
        """
        if state not in self._legal[self.state]:
            raise IllegalTransitionError(self._name, self.state, state)
        self.state = state
