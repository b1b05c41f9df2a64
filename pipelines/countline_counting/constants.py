"""Unit and origin of every constant of tracking and counting: one line for each number.

Values and meanings stand beside the code that uses them. This table adds what the code cannot show: the unit, what the
value is derived from, and why it is this value. `docs/constants.md` is rendered from both (`make constants`). A test
fails if a constant has no line, or a line no constant.
"""

from enum import Enum
from typing import Final, NamedTuple


class Basis(Enum):
    """What a value is derived from."""

    GEOMETRY = "geometry"
    MOTION = "motion"
    NOISE = "noise"
    SCORE = "score"
    RULE = "rule"
    COST = "cost"
    NUMERIC = "numeric"

    @property
    def meaning(self) -> str:
        """Return one sentence for the page."""
        return _MEANINGS[self]


_MEANINGS: Final = {
    Basis.GEOMETRY: "size and shape of a person or vehicle in the picture.",
    Basis.MOTION: "how fast people and vehicles move, stop and turn.",
    Basis.NOISE: "how exact the boxes of detectors are.",
    Basis.SCORE: "the scores of detectors. No scale is common to all of them, so these values are the least certain.",
    Basis.RULE: "a decision about what counts. Another value is another published rule, and not a better one.",
    Basis.COST: "time and memory of the machine. It changes no count.",
    Basis.NUMERIC: "the rounding of floating-point numbers. It changes no count.",
}


class ConstantLine(NamedTuple):
    """What the table says about one constant."""

    key: str
    """Module below `countline_counting`, and name."""
    unit: str
    basis: Basis
    why: str


_G, _M, _N, _S, _R, _C, _X = Basis

LINES: Final = tuple(
    ConstantLine(*line)
    for line in (
        ("rules.ORIGIN_CLEAR_HEIGHTS", "heights", _N, "twice the usual noise of a detected edge (0.08 lengths)"),
        ("rules.ORIGIN_NEAR_HEIGHTS", "heights", _N, "below the noise of one box; the mean of a stay is more exact"),
        ("rules.ORIGIN_STAY_S", "s", _R, "as long as an excursion: a shorter stay is no evidence of a side"),
        (
            "rules.APPROACH_HEIGHTS",
            "heights",
            _N,
            "most of the usual noise of a detected edge; the motion has to confirm it",
        ),
        (
            "rules.APPROACH_DEVIATIONS",
            "std. errors",
            _N,
            "as JITTER_DEVIATIONS: an object that stands has none by chance",
        ),
        ("rules.DESTINATION_CLEAR_HEIGHTS", "heights", _N, "three times the usual noise, because one box decides it"),
        ("rules.JITTER_EXCURSIONS", "number", _N, "one is a step over the line and back; two in succession are noise"),
        ("rules.JITTER_HEIGHTS", "heights", _N, "as far as boxes jitter that a tracker can still follow"),
        ("rules.JITTER_MEMORY_S", "s", _M, "longer than any pause of the jitter, shorter than a usual stay"),
        ("rules.JITTER_DEVIATIONS", "std. dev.", _N, "an hour has 9,000 independent sights: none is so far by chance"),
        ("rules.EXCURSION_S", "s", _M, "a step over the line and back takes a person longer than this"),
        ("rules.EXCURSION_SAMPLES", "sights", _N, "the least number with which one bad box decides nothing"),
        ("rules.DECIDE_LATEST_S", "s", _R, "LATEST_S less the time that one excursion takes"),
        (
            "rules.HINDSIGHT_S",
            "s",
            _M,
            "half of it shows less; what is later shows hardly more, and LATEST_S bounds it",
        ),
        ("rules.LATEST_S", "s", _R, "published: alerts and live totals wait at most this long"),
        ("rules.NOISY_LATEST_S", "s", _R, "published, as LATEST_S: follows from it, HINDSIGHT_S and its block"),
        ("rules.OBJECT_UNSEEN_S", "s", _R, "published: a person walks behind a pillar or a bus stop within this time"),
        ("rules.STALL_S", "s", _R, "coverage treats the same gap as processed"),
        ("rules.CLOCK_RESET_S", "s", _R, "as OBJECT_UNSEEN_S: no object could live over the gap"),
        ("rules.TIME_SLACK_S", "s", _X, "four times the resolution of a Unix time in double precision"),
        ("rules.ZONE_CHANGE_S", "s", _M, "as EXCURSION_S: a foot over the outline is no visit"),
        ("rules.ZONE_CLEAR_HEIGHTS", "heights", _N, "above the noise of the mean box within ZONE_CHANGE_S"),
        ("rules.ZONE_CHANGE_NEAR_S", "s", _M, "noise does not keep a box on one side for so long"),
        ("rules.SAME_OBJECT_OVERLAP", "IoU", _G, "two people seldom cover each other so well; two boxes of one do"),
        ("rules.SAME_OBJECT_OTHER_CLASS_OVERLAP", "IoU", _G, "usual limit of detectors within one class"),
        ("rules.NESTED_OVERLAP", "IoU", _G, "a box that misses the legs has 0.6 of the whole box"),
        ("rules.NESTED_SHARE", "share of area", _N, "all of it, less the noise of one edge"),
        ("rules.SECOND_BOX_OVERLAP", "IoU", _G, "half of an object, with the noise of two boxes"),
        ("rules.SECOND_BOX_SHARE", "share of area", _N, "all of it, less the noise of three edges"),
        ("rules.PART_SHAPE", "ratio", _G, "half an object has twice the ratio; a child differs by less than a fifth"),
        ("rules.AS_ONE_S", "s", _M, "two steps of a walker; two people do not keep step for longer"),
        ("rules.AS_ONE_APART", "share of box", _N, "the noise of one edge"),
        ("rules.WARM_UP_S", "s", _R, "longer than LATEST_S, with a margin for the first frames of a model"),
        ("rules.HAND_OVER_S", "s", _R, "SAME_CROSSING_S and half of it again"),
        ("rules.SAME_CROSSING_S", "s", _N, "two detectors see the same feet up to a second of slow walk apart"),
        (
            "rules.SAME_TRACK_OVERLAP",
            "IoU",
            _G,
            "boxes of two detectors on one person overlap more, those on neighbours less",
        ),
        ("tracking.association._IMPOSSIBLE", "cost", _X, "above the sum of possible costs, below the loss of digits"),
        ("tracking.association._FEW_PAIRS", "pairs", _C, "measured: from here on sorting is faster"),
        ("tracking.motion.MIN_SIZE_PX", "px", _X, "a box without area has no overlap"),
        (
            "tracking.motion.BORDER_SHARE",
            "share of picture",
            _N,
            "some pixels: detectors end boxes short of the border",
        ),
        ("tracking.motion.BORDER_NOISE", "share of box", _N, "the noise of one edge"),
        ("tracking.motion.LEAVING_HEIGHTS_PER_S", "heights/s", _M, "slower than any walk, faster than noise"),
        ("tracking.noise.STEP", "ln", _N, "known in a second of one object at 25 frames/s, and exact to a fifth"),
        ("tracking.noise.LONGEST_STEP", "ln", _M, "four boxes: noise of independent objects seldom agrees so far"),
        ("tracking.noise.USUAL_RATIO", "ratio", _N, "usual_score by the score of a box that is surely an object"),
        ("tracking.noise.LEAST_RATIO", "ratio", _N, "eleven steps below 0.7: one in ten thousand by chance"),
        ("tracking.noise.LARGEST_RATIO", "ratio", _N, "noise of a quarter of the box: nothing can be followed then"),
        (
            "tracking.noise.SURE_DOUBT",
            "ratio",
            _S,
            "a score of 0.5, or a sixth of the box shared",
        ),
        ("tracking.noise.MEDIAN", "std. dev.", _X, "of the absolute value of a normal variable"),
        ("tracking.scale.FLOOR_SCORE", "score", _S, "detectors report no weaker boxes, by default"),
        ("tracking.scale.TOP_SCORE", "score", _S, "a score of 1 is no measurement: detectors end just below"),
        ("tracking.scale.CUT_SCORE", "score", _S, "high_score of the tracker: no box of such a list is weak"),
        ("tracking.scale.WEAKEST_SHARE", "share of boxes", _S, "enough boxes to count, all near the floor"),
        ("tracking.scale.CUT_PERSISTS", "share", _S, "false boxes at a floor persist less than half as often"),
        ("tracking.scale.CUT_LEAST", "share", _S, "noise of boxes or a low frame rate hides persistence"),
        ("tracking.scale.PERSISTS_S", "s", _M, "an object is still there, and noise has changed"),
        ("tracking.scale.PERSISTS_OVERLAP", "IoU", _G, "more than half of the object in common"),
        ("tracking.scale.DECIMALS", "digits", _X, "far coarser than single precision, far finer than any threshold"),
        ("tracking.scale.LEAST_BOXES", "boxes", _S, "one object for two seconds at 25 frames/s"),
        ("tracking.settings.high_score", "score", _S, "detectors rarely give a clearly visible object less"),
        ("tracking.settings.lone_score", "score", _S, "half of a usual score: weak, and nothing else explains the box"),
        ("tracking.settings.low_score", "score", _S, "ByteTrack's lower limit"),
        ("tracking.settings.lone_overlap", "IoU", _G, "boxes that only touch"),
        ("tracking.settings.memory_s", "s", _R, "OBJECT_UNSEEN_S: after that, the id would be a new object anyway"),
        ("tracking.settings.first_memory_s", "s", _N, "an object seen once has no velocity to be predicted by"),
        ("tracking.settings.low_score_unseen_s", "s", _M, "a weak box is trusted only where the prediction is exact"),
        ("tracking.settings.own_score", "share", _S, "scores of one object vary by a third around their mean"),
        ("tracking.settings.position_noise", "lengths", _N, "spread of public detections around true boxes"),
        ("tracking.settings.size_noise", "lengths", _N, "twice position_noise: a difference of independent edges"),
        ("tracking.settings.usual_score", "score", _S, "taken for the median score of boxes that persist"),
        ("tracking.settings.crowd_doubt", "share", _N, "a box over two people is off by half a width"),
        (
            "tracking.settings.acceleration",
            "lengths/s per s^1/2",
            _M,
            "a person stops from 0.7 heights a second in 4 s",
        ),
        ("tracking.settings.growth", "lengths/s per s^1/2", _M, "a person begins to approach, five heights away"),
        ("tracking.settings.first_speed", "lengths/s", _M, "a runner, or a vehicle of its own length per 0.7 s"),
        ("tracking.settings.first_growth", "lengths/s", _M, "a person approaches at a walk, eight heights away"),
        ("tracking.settings.min_overlap", "IoU", _G, "usual limit; the gates exclude more"),
        ("tracking.settings.low_min_overlap", "IoU", _G, "a little stricter than for good boxes"),
        ("tracking.settings.gate", "std. dev.", _N, "excludes one in three thousand of the right boxes"),
        ("tracking.settings.size_gate", "ln", _G, "a box 1.6 times as high is another object or half of one"),
        ("tracking.settings.reach", "lengths", _M, "farther away is the place of another person"),
        ("tracking.settings.reach_gate", "std. dev.", _N, "excludes one in a hundred of the right boxes"),
        ("tracking.settings.reach_growth", "ln", _G, "without overlap, size must agree within 20 %"),
        ("tracking.settings.leap", "lengths", _M, "a vehicle at four frames a second"),
        ("tracking.settings.leap_size", "ln", _G, "without overlap, size must agree within a quarter"),
        ("tracking.tracker.ENTERED_S", "s", _M, "a walker comes in within a second: size_noise / growth, in seconds"),
        (
            "tracking.tracker.PREDICTED_S",
            "s",
            _M,
            "after a second the prediction no longer says where the object is",
        ),
        (
            "tracking.smoothing.LEAST_DETERMINANT",
            "lengths^4/s^2",
            _X,
            "far below that of two frames a millisecond apart",
        ),
        ("objects.clock._PERIOD_WEIGHT", "share", _X, "ten frames: smooths jitter, and follows a change of rate"),
        ("objects.fragments.RUNNING_SLACK_S", "s", _X, "rounding of thousands of additions, far below a frame period"),
        ("objects.fragments.CONFIRM_S", "s", _N, "longer than first_memory_s: the tracker has given it up"),
        (
            "objects.hindsight.CALM_RATIO",
            "ratio",
            _N,
            "between exact boxes (0.4 to 0.54) and noisy ones (0.7 and more)",
        ),
        ("objects.hindsight.BLOCK_S", "s", _C, "one pass over HINDSIGHT_S costs as much as tracking one frame"),
        ("objects.intake.LARGEST_PX", "px", _X, "no picture is so large, and stored paths hold more"),
        ("objects.intake.LEAST_SIZE_PX", "px", _X, "far below any box, far above the loss of digits"),
        ("objects.healing.SETTLE_S", "s", _M, "three sights at 10 frames/s show the motion of a fragment"),
        ("objects.healing.REACH_HEIGHTS", "heights", _N, "error of two fitted places and velocities"),
        ("objects.healing.REACH_HEIGHTS_PER_S", "heights/s", _M, "a person who starts or turns while hidden"),
        ("objects.healing.SIZE_RATIO", "ratio", _G, "as size_gate of the tracker"),
        ("objects.healing.SURE_OF_DIRECTION", "standard errors", _N, "stands: 1 of 700; walks: sure after 0.3 s"),
        ("objects.healing.SURE_SCORE", "score", _S, "usual_score of the tracker"),
        ("objects.healing.OTHER_CLASS_COST", "share", _S, "detectors change the class of a vehicle, seldom for long"),
        ("objects.kinship.MOST_WAITING", "frames", _C, "ten seconds at 25 frames/s"),
        ("objects.masks._UNSURE", "share of picture", _X, "far above the rounding of a cross product"),
        ("objects.table.SIZE_MEMORY_S", "s", _N, "averages some boxes, and follows an approach"),
        ("objects.table.HISTORY", "sights", _C, "MOTION_WINDOW_S at HISTORY_SPACING_S"),
        ("objects.table.HISTORY_SPACING_S", "s", _C, "more sights do not make the fit more exact"),
        ("objects.table.MOTION_WINDOW_S", "s", _M, "about one stride: shorter is noise, longer hides a turn"),
        ("objects.table.PLACE_NOISE", "heights", _N, "position_noise of the tracker"),
        ("objects.table.PLACE_NOISE_SIGHTS", "sights", _N, "three sights are the fewest that show any scatter"),
        ("rule.jitter.SIGHT_SPACING_S", "s", _C, "MOST_SIGHTS then cover JITTER_MEMORY_S"),
        ("rule.jitter.MOST_SIGHTS", "sights", _C, "their median is exact to a tenth"),
        ("rule.jitter.INDEPENDENT_S", "s", _N, "the tracker's filter remembers a box for about this long"),
        ("rule.jitter.MEDIAN", "std. dev.", _X, "of the absolute value of a normal variable"),
        ("rule.zones.ON_OUTLINE_HEIGHTS", "heights", _X, "far above rounding, far below a pixel"),
    )
)
