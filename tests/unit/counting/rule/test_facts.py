"""The facts that a counter emits to its listener."""

from tests.fixtures.counting.paths import IDENTITY, heights, ramp, spec, tracked

from countline_counting.counter import CameraCounter
from countline_counting.events import Crossing
from countline_counting.objects.facts import ObjectBegan
from countline_counting.rule.facts import (
    Decision,
    Evidence,
    Fact,
    LinesDrawn,
    Met,
    PassageFacts,
    PassCertain,
    PassHeld,
    PassJudged,
    SideTaken,
)


def facts_of(frames) -> tuple[list[Fact], list[Crossing]]:
    facts: list[Fact] = []
    counter = CameraCounter(IDENTITY, spec(), tracked=True, listener=facts.append)
    events = [e for i, (t, spots) in enumerate(frames) for e in counter.update_tracked(tracked(i, t, spots)).events]
    return facts, [event for event in (*events, *counter.flush()) if isinstance(event, Crossing)]


def test_a_crossing_is_a_meeting_a_held_pass_and_a_judged_one():
    facts, (event,) = facts_of(heights(ramp(200, 520, 31)))
    assert isinstance(facts[0], LinesDrawn)
    assert facts[1] == ObjectBegan(row=facts[1].row, number=event.track)
    at_line = [fact for step in facts if isinstance(step, PassageFacts) for fact in step.facts]
    kinds = [type(fact) for fact in at_line]
    assert kinds[0] is SideTaken
    assert at_line[0].how is Evidence.CLEAR
    assert kinds[kinds.index(Met) :] == [Met, PassHeld, PassCertain]
    assert at_line[-1].how is Decision.STAYED
    (judged,) = [fact for fact in facts if isinstance(fact, PassJudged)]
    assert (judged.event_id, judged.reason, judged.made.t) == (event.id, None, event.t)


def test_the_end_of_an_object_is_the_last_fact_about_it():
    facts, _ = facts_of(heights(ramp(200, 366, 20)))
    assert isinstance(facts[-1], PassageFacts)
    assert facts[-1].ended


def test_an_object_far_from_the_line_emits_facts_only_when_its_side_is_found_and_when_it_ends():
    facts, _ = facts_of(heights([200.0] * 40))
    steps = [fact for fact in facts if isinstance(fact, PassageFacts)]
    assert [(len(step.facts), step.ended) for step in steps] == [(1, False), (0, True)]
