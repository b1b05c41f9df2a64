"""Tables of states: what each part of a software camera may do next."""

import pytest

from countline_pipelines.planes.software.change import change
from countline_pipelines.planes.software.change.change import ChangeState
from countline_pipelines.planes.software.source import state
from countline_pipelines.planes.software.source.state import SourcePhase
from countline_pipelines.planes.software.trial import run
from countline_pipelines.planes.software.trial.run import TrialState
from countline_pipelines.planes.states import IllegalTransitionError, StateMachine


def test_a_transition_that_the_table_lacks_is_refused_and_changes_nothing() -> None:
    machine = StateMachine("a model change", ChangeState.STEADY, change._LEGAL)
    with pytest.raises(IllegalTransitionError, match="a model change cannot go from steady to overlap"):
        machine.move(ChangeState.OVERLAP)
    assert machine.state is ChangeState.STEADY
    for following in (ChangeState.WARMING, ChangeState.OVERLAP, ChangeState.CLOSING, ChangeState.WARMING):
        machine.move(following)
        assert machine.state is following


@pytest.mark.parametrize(
    ("states", "legal", "last"),
    [
        (ChangeState, change._LEGAL, set()),
        (SourcePhase, state._LEGAL, {SourcePhase.DRAINED}),
        (TrialState, run._LEGAL, {TrialState.ENDED}),
    ],
)
def test_every_state_has_its_row_and_only_the_last_one_has_no_next(states, legal, last) -> None:
    assert set(legal) == set(states)
    assert {each for each in states if not legal[each]} == last


def test_a_source_that_is_over_reads_no_more() -> None:
    for over in (SourcePhase.ENDED, SourcePhase.GAVE_UP):
        assert state._LEGAL[over] == {SourcePhase.DRAINED}
