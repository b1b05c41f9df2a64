"""Facts about objects at lines that the counter emits to a listener, if it has one.

A `Passage` records facts; its `LineCounter` emits them as one `PassageFacts` after each step. Facts flow one way: a
listener changes nothing that is counted.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from countline_counting import rules
from countline_counting.geometry.segments import Point, PolyLine
from countline_counting.objects.facts import ObjectFact
from countline_counting.reasons import Reason
from countline_counting.rule.passes import Pass, Sight
from countline_counting.spec import CountingSpec, Line


class Evidence(StrEnum):
    """How it became known on which side of a line an object is."""

    CLEAR = "clear"
    """It was clear of the line."""
    BORDER = "border"
    """The picture's border hides a part of the object that is farther from the line."""
    STAY = "stay"
    """It stayed near the line on one side."""
    MOTION = "motion"
    """It came into view near the line, and moved evenly over it. The meetings until then stay."""
    ROUND_THE_END = "round the end"
    """It was clear on the other side, and its path had not met the line."""


class Decision(StrEnum):
    """Why a held pass became certain."""

    STAYED = "stayed"
    UNSEEN = "unseen"
    """The object was not seen for long enough."""
    CAME_BACK_LATER = "came back later"
    ENDED = "ended"
    """The object, the line or the stream ended."""


@dataclass(frozen=True, slots=True)
class Met:
    """The path met the line."""

    sign: int
    """1 to the right, -1 to the left."""
    t: float
    fraction: float
    """Position of the meeting on the step: 0 at the sight before, 1 at this one."""
    already_beyond: bool
    """True if a pass in this direction is already held. The meeting then has no effect."""


@dataclass(frozen=True, slots=True)
class SideTaken:
    """The side of the object is known, without a pass. Earlier meetings lead to none, unless motion shows the side."""

    side: int
    how: Evidence
    value: float
    """The measured value, in heights, seconds or standard errors."""


@dataclass(frozen=True, slots=True)
class ClearAgain:
    """The object is clear of the line on the side that it comes from. Earlier meetings lead to no pass."""

    side: int


@dataclass(frozen=True, slots=True)
class PassHeld:
    """The meetings so far are a pass, which is held back."""

    made: Pass
    beyond_heights: float
    least_heights: float
    """How far beyond the line the object had to be."""


@dataclass(frozen=True, slots=True)
class PassDropped:
    """The last meeting took the held pass back; both are dropped."""

    reason: Reason
    value: float
    """Seconds or sights between the two."""


@dataclass(frozen=True, slots=True)
class PassCertain:
    """The held pass is certain."""

    made: Pass
    how: Decision
    waited_s: float
    sights: int
    """Number of sights beyond the line."""


PassageFact = Met | SideTaken | ClearAgain | PassHeld | PassDropped | PassCertain


@dataclass(frozen=True, slots=True)
class PassageFacts:
    """What one step changed for one object at one line: a sight, the passing of time, or the object's end."""

    line: Line
    row: int
    """Row of the object in the table of objects."""
    facts: tuple[PassageFact, ...]
    """In the order in which they happened."""
    side: int
    """Side that the object comes from, after the step: 1 right, -1 left, 0 unknown."""
    before: tuple[float, Point] | None = None
    """Time and anchor of the sight before, None for the first."""
    sight: Sight | None = None
    """None if the step is not a sight."""
    ended: bool = False
    """Whether the line forgets the object with this step."""
    clear_heights: float = rules.DESTINATION_CLEAR_HEIGHTS
    """How far beyond the line the object must be seen, after the step."""


@dataclass(frozen=True, slots=True)
class LinesDrawn:
    """The lines that are counted from now on."""

    spec: CountingSpec
    paths: tuple[PolyLine, ...]
    """The lines of the spec, in their order, in pixels."""


@dataclass(frozen=True, slots=True)
class PassJudged:
    """A certain pass counts, or its object does not count at this line."""

    line: Line
    classes: frozenset[int] | None
    """Class ids that the line counts; None for all."""
    row: int
    made: Pass
    class_id: int
    age_s: float
    score: float
    reason: Reason | None
    """None if the pass counts."""
    event_id: str
    """Id of the crossing; empty if there is none."""


Fact = ObjectFact | PassageFacts | LinesDrawn | PassJudged
Listener = Callable[[Fact], None]
NewListener = Callable[[], Listener]
"""Makes the listener of one counter."""
