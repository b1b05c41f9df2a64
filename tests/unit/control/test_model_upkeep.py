"""How long a model is left alone that Triton does not serve as it should."""

from dataclasses import replace

import pytest

from countline_control.models.domain import StoredModel, StoredVersion, Validation, VersionState
from countline_control.models.upkeep import AGAIN_LONGEST_S, AGAIN_S, Pauses
from countline_models.contract_model import ContractModel
from countline_models.deploy import Target, Tuning

CONTRACT = ContractModel(64, 96, 10, ("person", "vehicle"), 0.4)
ONE, TWO = (
    StoredVersion("net", number, VersionState.VALIDATED, f"{number:064x}", 10, 0.4, "", "", Validation(), "ann", 0.0)
    for number in (1, 2)
)
NET = StoredModel("net", CONTRACT, Tuning(), Target.CPU, 1, 0, 0.0, 0.0, (ONE, TWO))


class Clock:
    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def pauses(clock: Clock) -> Pauses:
    return Pauses(clock)


def length_s(pauses: Pauses, clock: Clock) -> float:
    """Try in vain, and wait until there may be another try; to the second."""
    pauses.lengthen(NET)
    began_s = clock.now_s
    while not pauses.may_try(NET):
        clock.now_s += 1.0
    return clock.now_s - began_s


def test_each_pause_is_twice_the_last_up_to_the_longest(pauses: Pauses, clock: Clock) -> None:
    assert pauses.may_try(NET)
    assert [length_s(pauses, clock) for _ in range(8)] == [10.0, 20.0, 40.0, 80.0, 160.0, 320.0, 600.0, 600.0]
    assert (AGAIN_S, AGAIN_LONGEST_S) == (10.0, 600.0)


def test_what_is_well_begins_anew(pauses: Pauses, clock: Clock) -> None:
    length_s(pauses, clock)
    pauses.end(NET)
    assert pauses.may_try(NET)
    assert length_s(pauses, clock) == AGAIN_S


def test_only_what_was_tried_is_left_alone(pauses: Pauses, clock: Clock) -> None:
    length_s(pauses, clock)
    pauses.lengthen(NET)
    assert not pauses.may_try(NET)
    assert pauses.may_try(replace(NET, name="other"))
    others = replace(NET, versions=(ONE,))
    assert pauses.may_try(others), "other versions shall be served now"
    pauses.lengthen(others)
    clock.now_s += AGAIN_S
    assert pauses.may_try(others), "its first pause, not its second"
