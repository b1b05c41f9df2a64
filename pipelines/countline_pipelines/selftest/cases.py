"""The cases: one scene each, with its true counts and a remark.

In the first group are situations in which today's counting engines differ. The other groups hold what users of these
engines report: double counts, flicker, queues, lost ids, vertical lines, slow streams.
"""

from collections.abc import Iterator

from countline_pipelines.selftest.scene import GATE, Case, Mover, Waypoint

Path = list[Waypoint]

IN = {"gate": (1, 0)}
OUT = {"gate": (0, 1)}
NONE = {"gate": (0, 0)}
BOTH = {"gate": (1, 1)}


def down(start_s: float = 0.0, seconds: float = 3.0, x: float = 600.0, y: float = 200.0, to: float = 520.0) -> Path:
    """Walk over the gate."""
    return [(start_s, x, y), (start_s + seconds, x, to)]


def up(start_s: float = 0.0, seconds: float = 3.0, x: float = 600.0) -> Path:
    """Walk back over it."""
    return down(start_s, seconds, x, 520.0, 200.0)


def stand(y: float, seconds: float = 6.0, x: float = 600.0) -> Path:
    """Stand still."""
    return [(0.0, x, y), (seconds, x, y)]


def visit(y: float, stay_s: float, seconds: float = 2.0, x: float = 600.0) -> Path:
    """Walk to y, stay, and walk back."""
    back = seconds + stay_s
    return [(0.0, x, 200.0), (seconds, x, y), (back, x, y), (back + seconds, x, 200.0)]


def loop(times: int = 2) -> Path:
    """Walk over the gate, round its end and over it again."""
    path: Path = []
    for i in range(times):
        t = 8.0 * i
        path += [(t, 600.0, 200.0), (t + 2, 600.0, 480.0), (t + 4, 1050.0, 480.0), (t + 6, 1050.0, 200.0)]
    return [*path, (8.0 * times, 600.0, 200.0)]


def _published() -> Iterator[Case]:
    yield Case("clean pass", "the plain case", [Mover(down())], IN)
    yield Case("clean pass back", "the other direction", [Mover(up())], OUT)
    yield Case("lands on the line", "strict inequalities lose it", [Mover(down(seconds=2, y=260, to=460))], IN)
    yield Case("vertical path", "an angle of 90 degrees has no tangent", [Mover(down(x=640))], IN)
    jittering = Mover([(0, 600, 200), (2, 600, 356), (8, 600, 356), (10, 600, 200)], jitter_px=6)
    yield Case("stops on the line, goes back", "jitter counts up to 15 times", [jittering], NONE)
    flicker = Mover(stand(340), jumps=[(1.5, 0, 32), (3, 0, 32), (4.5, 0, 32)])
    yield Case("three flickers", "a bad box is no crossing", [flicker], NONE)
    yield Case("in and back out", "once per id for ever loses the way back", [Mover(visit(480, 0))], BOTH)
    yield Case(
        "two, 0.2 s apart",
        "a timer per line loses one",
        [Mover(down(x=500)), Mover(down(0.2, x=700))],
        {"gate": (2, 0)},
    )
    yield Case("two in one frame", "both count", [Mover(down(x=500)), Mover(down(x=700))], {"gate": (2, 0)})
    yield Case(
        "new id before the line", "short tracks are lost by frame thresholds", [Mover(down(), new_id_at=[1.4])], IN
    )
    queue: Path = [(0, 600, 200), (1.5, 600, 357), (7.5, 600, 358), (9, 600, 520)]
    queuing = Mover(queue, jitter_px=6, new_id_every_s=0.5)
    yield Case("queue on the line", "a new id every 0.5 s counts 12 times elsewhere", [queuing], IN)
    yield Case("fast, four observations", "100 px a frame", [Mover(down(seconds=0.3, y=210, to=510))], IN)
    yield Case("fast, two observations", "one on each side", [Mover(down(seconds=0.1, y=310, to=410))], IN)
    yield Case("beyond the end", "the line ends where it ends", [Mover(down(x=960))], NONE)
    yield Case("enters twice round the end", "the way round is no crossing", [Mover(loop())], {"gate": (2, 0)})
    yield Case("near the end", "anchors outside a perpendicular band are lost", [Mover(down(x=890))], IN)


def _lines() -> Iterator[Case]:
    vertical = {"gate": ((640.0, 600.0), (640.0, 100.0))}
    across: Path = [(0, 480, 400), (3, 800, 400)]
    yield Case("vertical line", "left to right", [Mover(across)], IN, lines=vertical)
    yield Case("vertical line, back", "right to left", [Mover([(0, 800, 400), (3, 480, 400)])], OUT, vertical)
    diagonal = {"gate": ((300.0, 600.0), (900.0, 150.0))}
    yield Case("diagonal line", "crossed level", [Mover([(0, 300, 375), (4, 900, 375)])], IN, diagonal)
    yield Case("shallow angle", "nearly along the line", [Mover([(0, 320, 300), (6, 880, 420)])], IN)
    yield Case("along the line", "beside it for all its length", [Mover([(0, 310, 340), (6, 890, 340)])], NONE)
    yield Case(
        "along on the line", "on it for all its length", [Mover([(0, 310, 360), (6, 890, 360)], jitter_px=3)], NONE
    )
    corner = {"gate": ((300.0, 300.0), (600.0, 360.0), (900.0, 300.0))}
    yield Case("through a corner", "a vertex belongs to one segment", [Mover(down())], IN, corner)
    zigzag = {"gate": ((300.0, 330.0), (500.0, 390.0), (700.0, 330.0), (900.0, 390.0))}
    yield Case("over a zigzag", "one crossing, whichever arm", [Mover(down(x=560))], IN, zigzag)
    ushape = {"gate": ((400.0, 200.0), (400.0, 500.0), (800.0, 500.0), (800.0, 200.0))}
    crossing: Path = [(0, 200, 350), (4, 1000, 350)]
    yield Case("through a U", "in one side and out of the other", [Mover(crossing)], BOTH, ushape)
    yield Case(
        "into a U and out of its mouth",
        "the mouth is open",
        [Mover([(0, 200, 350), (2, 600, 350), (4, 600, 50)])],
        OUT,
        ushape,
    )
    square = {"gate": ((400.0, 250.0), (800.0, 250.0), (800.0, 550.0), (400.0, 550.0), (400.0, 250.0))}
    yield Case("into a closed line", "in - out is what changed", [Mover([(0, 200, 400), (3, 600, 400)])], IN, square)
    yield Case("through a closed line", "in - out is 0", [Mover(crossing)], BOTH, square)
    cut: Path = [(0, 250, 360), (3, 520, 640)]
    yield Case("past the corner of a closed line", "outside all the way", [Mover(cut)], NONE, square)
    two = {"near": ((300.0, 300.0), (900.0, 300.0)), "far": ((300.0, 420.0), (900.0, 420.0))}
    yield Case("two lines", "each counts for itself", [Mover(down())], {"near": (1, 0), "far": (1, 0)}, two)
    both: dict[str, tuple[int, int]] = {"near": (1, 1), "far": (0, 0)}
    yield Case("turns between two lines", "over the first only", [Mover(visit(385, 1))], both, two)
    yield Case("just past the end", "a tenth of a box beside it", [Mover(down(x=908))], NONE)
    yield Case("round the end, close by", "no crossing", [Mover([(0, 850, 280), (2, 960, 360), (4, 850, 440)])], NONE)
    back_through: Path = [(0, 950, 250), (2, 950, 470), (4, 600, 470), (6, 600, 250)]
    yield Case("round the end, back through", "out without having come in", [Mover(back_through)], OUT)
    short = {"gate": ((590.0, 360.0), (610.0, 360.0))}
    yield Case("a line shorter than the box", "crossed in its middle", [Mover(down())], IN, short)


def _hysteresis() -> Iterator[Case]:
    yield Case("touches and turns", "reaches the line, no more", [Mover(visit(360, 0))], NONE)
    yield Case("a foot over the line", "0.15 of a height beyond for 3 s", [Mover(visit(372, 3))], NONE)
    yield Case("half a height beyond", "for a second, and back", [Mover(visit(400, 1))], BOTH)
    yield Case(
        "over and back in 0.4 s",
        "an excursion",
        [Mover([(0, 600, 330), (2, 600, 330), (2.2, 600, 400), (2.4, 600, 330), (4, 600, 330)], fps=10)],
        NONE,
        fps=30,
    )
    yield Case(
        "flickers far beyond", "one frame, two heights", [Mover(stand(330), jumps=[(2, 0, 160), (4, 0, 160)])], NONE
    )
    yield Case("teleports", "one bad box at the far end", [Mover(down(to=340), jumps=[(2, 300, 300)])], NONE)
    yield Case("takes a minute", "a height in 60 s, counted once", [Mover([(0, 600, 320), (60, 600, 400)])], IN)
    yield Case("crawls with jitter", "0.1 of a height", [Mover([(0, 600, 300), (20, 600, 420)], jitter_px=8)], IN)
    yield Case("appears on the line", "came from nowhere", [Mover([(0, 600, 360), (2, 600, 500)])], NONE)
    yield Case(
        "appears near, waits, crosses",
        "its side is known by time",
        [Mover([(0, 600, 350), (1, 600, 350), (2.5, 600, 500)])],
        IN,
    )
    yield Case("vanishes on the line", "arrived nowhere", [Mover(down(to=368))], NONE)
    yield Case("vanishes beyond", "seen once, clear", [Mover([(0, 600, 300), (0.6, 600, 396)])], IN)
    back_and_forth: Path = [(0, 600, 300)]
    for i in range(4):
        back_and_forth += [(4 * i + 1, 600, 440), (4 * i + 2, 600, 440), (4 * i + 3, 600, 280), (4 * i + 4, 600, 280)]
    yield Case("paces", "four times in, four times out", [Mover(back_and_forth)], {"gate": (4, 4)})
    yield Case("small object", "8 px high: rules are in heights", [Mover(down(y=340, to=380), (4.0, 8.0))], IN)
    yield Case("large object", "400 px high, jitters 30 px", [Mover(stand(365), (200.0, 400.0), jitter_px=30)], NONE)


def _identity() -> Iterator[Case]:
    yield Case("new id on the line", "between two frames", [Mover(down(), new_id_at=[1.5])], IN)
    yield Case("new id after the line", "one crossing, not two", [Mover(down(), new_id_at=[1.7])], IN)
    yield Case("new id every frame", "thirty ids, one person", [Mover(down(), new_id_every_s=0.1)], IN)
    yield Case("hidden over the line", "same id after 0.8 s", [Mover(down(), hidden=[(1.1, 1.9)])], IN)
    yield Case("hidden, new id", "behind a pillar", [Mover(down(), hidden=[(1.1, 1.9)], new_id_at=[1.5])], IN)
    yield Case(
        "one vanishes, another appears",
        "too far to be one",
        [Mover(down(seconds=1.4, to=300)), Mover(down(1.7, 1.5, y=440))],
        NONE,
    )
    yield Case(
        "one leaves, another comes beside",
        "two ids, two people",
        [Mover(down(seconds=1.5, to=350)), Mover(down(1.7, 1.5, x=800, y=370))],
        NONE,
    )
    yield Case(
        "unseen for 4 s",
        "a new object",
        [Mover([(0, 600, 300), (1, 600, 300), (5.1, 600, 420), (6, 600, 420)], hidden=[(1, 5.1)])],
        NONE,
    )
    yield Case("two boxes on one", "nested or doubled detections", [Mover(down(), doubled=True)], IN)
    yield Case("car or truck", "its class flips every other frame", [Mover(down(), class_ids=(2, 7))], IN)
    yield Case(
        "class by the whole track",
        "one frame in four says vehicle",
        [Mover(down(), class_ids=(0, 0, 0, 2))],
        NONE,
        classes=frozenset({"2"}),
    )
    yield Case("side by side", "half a box apart", [Mover(down()), Mover(down(x=625))], {"gate": (2, 0)})
    yield Case("meet on the line", "one in, one out", [Mover(down(x=590)), Mover(up(x=640))], BOTH)
    yield Case(
        "ten at once", "a row over the whole line", [Mover(down(x=330 + 60 * i)) for i in range(10)], {"gate": (10, 0)}
    )
    column = [Mover(down(0.6 * i)) for i in range(8)]
    yield Case("eight in a column", "close behind each other", column, {"gate": (8, 0)})
    yield Case(
        "two in a queue, ids churn",
        "each once",
        [
            Mover([(0, 560, 200), (1.5, 560, 357), (6, 560, 357), (8, 560, 520)], new_id_every_s=0.7),
            Mover([(0, 680, 200), (1.5, 680, 357), (6, 680, 357), (8, 680, 520)], new_id_every_s=0.9),
        ],
        {"gate": (2, 0)},
    )


def _time() -> Iterator[Case]:
    stay: Path = [(0, 600, 240), (2, 600, 240), (4, 600, 480), (6, 600, 480), (8, 600, 240), (10, 600, 240)]
    for fps in (2, 3, 5, 8, 15, 30, 60):
        yield Case(f"in and out at {fps} frames/s", "the same walk, the same count", [Mover(stay)], BOTH, fps=fps)
    rates = [
        Mover(down(seconds=2, x=400)),
        Mover(down(seconds=2, x=600), fps=5),
        Mover(down(seconds=2, x=800), fps=15),
    ]
    yield Case("three rates at once", "seen in every frame, every second, every sixth", rates, {"gate": (3, 0)}, fps=30)
    yield Case("clock of the year 2001", "t = 1e9 + ...", [Mover(down())], IN, start_t=1e9)
    yield Case("frames come twice", "doubled", [Mover(down())], IN, disorder="doubled")
    yield Case("frames come late", "every frame again 0.3 s later", [Mover(visit(480, 1))], BOTH, disorder="late")
    yield Case("frames swapped", "in pairs", [Mover(visit(480, 1))], BOTH, disorder="swapped")
    yield Case("stall before the line", "20 s without a frame end nothing", [Mover(down())], IN, stalls=[(1.3, 20)])
    yield Case("stall on the line", "between two sides", [Mover(down())], IN, stalls=[(1.55, 8)])


def _zones() -> Iterator[Case]:
    room = {"room": ((400.0, 200.0), (800.0, 200.0), (800.0, 500.0), (400.0, 500.0))}
    through: Path = [(0, 200, 350), (4, 1000, 350)]
    once = {"room": (1, 1)}
    yield Case("through a zone", "one entry, one exit", [Mover(through)], once, {}, room)
    yield Case(
        "on the outline", "jitter is no visit", [Mover(stand(350, x=400), jitter_px=5)], {"room": (0, 0)}, {}, room
    )
    yield Case(
        "stays in", "no exit", [Mover([(0, 200, 350), (2, 600, 350), (4, 600, 350)])], {"room": (1, 0)}, {}, room
    )
    yield Case(
        "born inside", "no entry", [Mover([(0, 600, 350), (1, 600, 350), (3, 1000, 350)])], {"room": (0, 1)}, {}, room
    )
    yield Case(
        "teleports into a zone",
        "one bad box sets off no alarm",
        [Mover(stand(100, x=200), jumps=[(2, 400, 250)])],
        {"room": (0, 0)},
        {},
        room,
    )
    notch = {
        "room": (
            (300.0, 100.0),
            (500.0, 100.0),
            (500.0, 500.0),
            (800.0, 500.0),
            (800.0, 100.0),
            (1000.0, 100.0),
            (1000.0, 650.0),
            (300.0, 650.0),
        )
    }
    yield Case(
        "in the notch of a concave zone",
        "outside",
        [Mover([(0, 650, 50), (2, 650, 300), (4, 650, 50)])],
        {"room": (0, 0)},
        {},
        notch,
    )
    yield Case(
        "new id inside a zone",
        "one stay",
        [Mover([(0, 200, 350), (2, 600, 350), (4, 1000, 350)], new_id_at=[2.0])],
        once,
        {},
        room,
    )


def _reported() -> Iterator[Case]:
    """What users of other engines report."""
    lanes = {f"lane-{i}": ((300.0 + 200 * i, 360.0), (480.0 + 200 * i, 360.0)) for i in range(3)}
    one: dict[str, tuple[int, int]] = {"lane-0": (0, 0), "lane-1": (1, 0), "lane-2": (0, 0)}
    yield Case(
        "three lanes, one car", "every lane's line fires for every car elsewhere", [Mover(down(x=590))], one, lanes
    )
    yield Case(
        "stop and go",
        "four stops on the line, 32 s, a new id at each",
        [Mover(_stop_and_go(), new_id_every_s=8.0)],
        IN,
    )
    parked = Mover(stand(352, seconds=60.0), jitter_px=7, new_id_every_s=7.0)
    yield Case("parked beside the line", "a minute of jitter under nine ids", [parked], NONE, fps=5)
    passing = [Mover(stand(352, seconds=20.0, x=500), jitter_px=5), Mover(down(5.0, x=760))]
    yield Case("one stands, another crosses", "only who crosses is counted", passing, IN)
    herd = [Mover(down(0.15 * i, 2.5, x=340 + 42 * (i % 12))) for i in range(24)]
    yield Case("a herd of 24", "close together, some side by side", herd, {"gate": (24, 0)})
    yield Case("twice the same way", "in, round the end, in, back out", [Mover(_in_twice_out_once())], {"gate": (2, 1)})
    yield Case(
        "two meet and turn back", "neither crosses, and each keeps its identity",
        [Mover(visit(345, 1, x=560)), Mover([(0, 660, 520), (2, 660, 375), (3, 660, 375), (5, 660, 520)])], NONE,
    )  # fmt: skip
    yield Case(
        "one vanishes above, another appears below", "0.4 s and three heights apart are two people",
        [Mover(down(seconds=1.0, y=180, to=230)), Mover(down(1.4, 1.5, y=480, to=640))], NONE,
    )  # fmt: skip
    small = [Mover(down(seconds=1.5, to=350)), Mover(down(1.6, 1.5, y=366), (16.0, 32.0))]
    yield Case("a child where an adult vanished", "of less than half the size: another", small, NONE)
    yield Case("speed of a car", "eight heights a second", [Mover(down(seconds=0.5, y=200, to=520))], IN)
    yield Case("three observations, far apart", "at 2 frames/s", [Mover(down(seconds=1.0, y=260, to=520))], IN, fps=2)


def _stop_and_go() -> Path:
    path: Path = [(0, 600, 240)]
    for i, y in enumerate((330, 350, 365, 372)):
        path += [(8.0 * i + 2, 600, y), (8.0 * (i + 1), 600, y)]
    return [*path, (36, 600, 520)]


def _in_twice_out_once() -> Path:
    return [
        (0, 800, 250), (2, 800, 460), (3, 960, 460), (4, 960, 250), (5, 800, 250), (7, 800, 460), (8, 800, 460),
        (10, 800, 250), (11, 800, 250),
    ]  # fmt: skip


def _strangers() -> Iterator[Case]:
    """Two people of whom one seems to go on where the other was lost."""
    vertical = {"gate": ((640.0, 700.0), (640.0, 20.0))}
    diagonal = {"gate": ((300.0, 600.0), (900.0, 150.0))}
    near, far = (120.0, 300.0), (16.0, 40.0)
    border = "one id takes over the other and crosses back"
    for name, line, y, size, fps in (
        ("enters where another left", 30.0, 400.0, (40.0, 80.0), 10.0),
        ("enters where another left, near", 110.0, 500.0, near, 25.0),
        ("enters where another left, far away", 14.0, 300.0, far, 30.0),
    ):
        gone, pace = -size[0] / 4, size[1]
        leaves = Mover([(0, gone + 3 * pace, y), (3, gone, y)], size, cut=True)
        enters = Mover([(3.2, gone, y), (6.2, gone + 3 * pace, y)], size, cut=True)
        gate = {"gate": ((line, 700.0), (line, 20.0))}
        yield Case(name, border, [leaves, enters], BOTH, gate, fps=fps)
    behind = "hidden behind a third for over 2 s, with new ids"
    for name, lines, size, fps, pace, y in (
        ("opposite walkers hidden", vertical, (40.0, 80.0), 10.0, 60.0, 360.0),
        ("opposite walkers hidden, near", vertical, near, 25.0, 150.0, 500.0),
        ("opposite walkers hidden, on a diagonal line", diagonal, far, 30.0, 30.0, 360.0),
    ):
        middle = 640.0 if lines is vertical else 620.0
        left, right, hidden = middle - 2.5 * pace, middle + 2.5 * pace, [(1.3, 3.6)]
        there = Mover([(0, left, y), (5, right, y)], size, hidden=hidden, new_id_at=[2.0])
        back = Mover([(0, right, y + size[1] / 8), (5, left, y + size[1] / 8)], size, hidden=hidden, new_id_at=[2.0])
        yield Case(name, behind, [there, back], BOTH, lines, fps=fps)
        follows = [
            Mover([(0, left, y), (3.7, middle + 1.2 * pace, y)], size),
            Mover([(5.7, middle - 0.8 * pace, y), (9.0, right, y)], size),
        ]
        follower = name.replace("opposite walkers hidden", "one follows another")
        yield Case(
            follower, "the first is lost beyond the line, not run back", follows, {"gate": (2, 0)}, lines, fps=fps
        )


def _boxes() -> Iterator[Case]:
    yield Case(
        "nested boxes",
        "without the feet, a second one",
        [Mover(down(), doubled=True, doubled_share=0.75)],
        IN,
        upright=True,
    )
    yield Case("person and rider", "two classes on one", [Mover(down(), doubled=True, doubled_class=3)], IN)
    flips = Mover(down(seconds=6), class_ids=(7, 7, 2, 7, 2))
    yield Case("truck by majority", "its class flips to car and back", [flips], IN, classes=frozenset({"7"}))
    yield Case("not the car either", "the same truck for a line of cars", [flips], NONE, classes=frozenset({"2"}))
    door = {"gate": ((300.0, 705.0), (900.0, 705.0))}
    tall = (60.0, 180.0)
    leaves: Path = [(0, 600, 540), (3, 600, 860)]
    comes: Path = [(0, 600, 860), (3, 600, 540)]
    yield Case("feet leave at the border", "the box ends there, a few px beyond", [Mover(leaves, tall, cut=True)], IN,
               door, upright=True)  # fmt: skip
    yield Case("feet come in at the border", "it begins there", [Mover(comes, tall, cut=True)], OUT, door, upright=True)
    yield Case(
        "feet at the border come and go", "cut off for 4 s, jittering, and back",
        [Mover([(0, 600, 600), (2, 600, 712), (6, 600, 712), (8, 600, 600)], tall, jitter_px=6, cut=True)], NONE,
        door, upright=True,
    )  # fmt: skip
    yield Case(
        "centre anchor",
        "the feet cross, the middle does not",
        [Mover(down(to=390))],
        NONE,
        anchor=(0.5, 0.5),
        upright=True,
    )
    yield Case(
        "top anchor", "half a height later than the feet", [Mover(down(to=480))], IN, anchor=(0.5, 0.0), upright=True
    )
    tree = {"tree": ((560.0, 330.0), (640.0, 330.0), (640.0, 390.0), (560.0, 390.0))}
    yield Case("behind a mask over the line", "hidden for 0.6 s, healed", [Mover(down())], IN, masks=tree)
    lawn = {"lawn": ((500.0, 100.0), (700.0, 100.0), (700.0, 700.0), (500.0, 700.0))}
    yield Case("in a mask all the way", "not seen at all", [Mover(down())], NONE, masks=lawn)
    brief: Path = [(0, 600, 310), (0.5, 600, 410)]
    yield Case("too short to be old", "0.5 s of 1 s", [Mover(brief)], NONE, min_track_age_s=1.0)
    yield Case(
        "old enough later", "confirmed after it crossed",
        [Mover([*brief, (2.0, 600, 420)])], IN, min_track_age_s=1.0,
    )  # fmt: skip
    unsure = [Mover(down(x=500), score=0.3), Mover(down(x=700))]
    yield Case("one of them doubtful", "a mean score of 0.3 is below 0.5", unsure, IN, min_track_score=0.5)


def _noise() -> Iterator[Case]:
    """Boxes that jitter by 15 % of their size while the object stands on the line."""
    vertical = {"gate": ((640.0, 700.0), (640.0, 20.0))}
    diagonal = {"gate": ((300.0, 600.0), (900.0, 150.0))}
    wide, far = (160.0, 200.0), (8.0, 20.0)
    on = "15 %: the foot goes over the line and back for a minute"
    level: Path = [(0, 600, 200), (4, 600, 360), (64, 600, 360)]
    aside: Path = [(0, 200, 400), (4, 640, 400), (64, 640, 400)]
    slant: Path = [(0, 570, 330), (4, 600, 375), (64, 600, 375)]
    stands = [Mover([*level, (68, 600, 200)], box_noise=0.15)]
    yield Case("noise, stands on the line", on, stands, NONE)
    stands = [Mover([*aside, (68, 200, 400)], wide, box_noise=0.15)]
    yield Case("noise, stands on a vertical line", on, stands, NONE, vertical, fps=5)
    stands = [Mover([*slant, (68, 570, 330)], far, box_noise=0.15)]
    yield Case("noise, stands on a diagonal line", on, stands, NONE, diagonal, fps=5)
    over = "the same, and then it goes on: one crossing"
    yield Case("noise, goes over at last", over, [Mover([*level, (68, 600, 520)], box_noise=0.15)], IN)
    goes = [Mover([*aside, (68, 1080, 400)], wide, box_noise=0.15)]
    yield Case("noise, goes over a vertical line at last", over, goes, IN, vertical, fps=5)
    goes = [Mover([*slant, (68, 630, 420)], far, box_noise=0.15)]
    yield Case("noise, goes over a diagonal line at last", over, goes, IN, diagonal, fps=5)


def _halves() -> Iterator[Case]:
    """A box of an object and one of its half, which move as one; and two objects that look like that."""
    vertical = {"gate": ((640.0, 700.0), (640.0, 20.0))}
    diagonal = {"gate": ((300.0, 600.0), (900.0, 150.0))}
    near, far = (120.0, 300.0), (16.0, 40.0)
    half = "nested, IoU 0.4 to 0.55: each box would count"
    legs = Mover(down(seconds=5), doubled=True, doubled_share=0.5, doubled_below=True)
    yield Case("a person and his legs", half, [legs], IN, upright=True)
    chest = Mover([(0, 300, 560), (6, 980, 560)], near, doubled=True, doubled_share=0.55)
    yield Case("a person and his chest", half, [chest], IN, vertical, fps=25, upright=True)
    small = Mover([(0, 540, 310), (6, 660, 440)], far, doubled=True, doubled_share=0.4, doubled_below=True)
    yield Case("a person and his legs, far away", half, [small], IN, diagonal, upright=True)
    child = Mover([(0, 300, 565), (6, 980, 565)], (84.0, 210.0))
    adult = Mover([(0, 300, 560), (6, 980, 560)], near)
    yield Case("a child in front of an adult", "nested, IoU 0.5, and two people", [adult, child], {"gate": (2, 0)},
               vertical)  # fmt: skip


def _feet() -> Iterator[Case]:
    """Something in the picture hides the feet: the box ends there, and the person goes on."""
    diagonal = {"gate": ((300.0, 600.0), (900.0, 150.0))}
    near, far = (120.0, 300.0), (16.0, 40.0)
    beside = "the box ends on the other side of the line; the feet do not go there"
    half, third, most = ([(1.9, 0.0), (2.0, share), (4.0, share), (4.1, 0.0)] for share in (0.5, 0.35, 0.6))
    along: Path = [(0, 350, 385), (6, 850, 385)]
    yield Case("legs behind a parked car", beside, [Mover(along, feet_hidden=half)], NONE, upright=True)
    bench = Mover([(0, 350, 420), (6, 850, 420)], near, feet_hidden=third)
    yield Case("legs behind a bench, near", beside, [bench], NONE, fps=25, upright=True)
    hedge = Mover([(0, 400, 537), (6, 640, 357)], far, feet_hidden=most)
    yield Case("legs behind a hedge, along a diagonal line", beside, [hedge], NONE, diagonal, fps=30, upright=True)
    wall = "the box stops before the line; the feet meet it behind the wall"
    low = [(1.2, 0.0), (1.25, 0.3), (1.9, 0.3), (1.95, 0.0)]
    yield Case(
        "over the line behind a low wall", wall, [Mover(down(), feet_hidden=low)], IN, met_at=(1.5,), upright=True
    )
    steep = Mover([(0, 500, 300), (3, 700, 600)], near, feet_hidden=[(0.8, 0.0), (0.9, 0.4), (2.5, 0.4), (2.6, 0.0)])
    yield Case("over a diagonal line behind a low wall, near", wall, [steep], IN, diagonal, fps=25, met_at=(1.0,),
               upright=True)  # fmt: skip
    counter = [(1.7, 0.0), (1.8, 0.5), (5.2, 0.5), (5.3, 0.0)]
    yield Case("stands behind a counter beyond the line", "seen from the waist up, for 3 s",
               [Mover(visit(400, 3), feet_hidden=counter)], BOTH, upright=True)  # fmt: skip


def _scores() -> Iterator[Case]:
    lines = {
        "a line": (GATE, [(0.0, 500.0, 200.0), (4.0, 500.0, 520.0)], [(0.0, 800.0, 200.0), (4.0, 800.0, 520.0)]),
        "a vertical line": (
            ((640.0, 600.0), (640.0, 100.0)),
            [(0.0, 480.0, 300.0), (4.0, 800.0, 300.0)],
            [(0.0, 480.0, 560.0), (4.0, 800.0, 560.0)],
        ),
        "a diagonal line": (
            ((300.0, 600.0), (900.0, 150.0)),
            [(0.0, 350.0, 300.0), (4.0, 750.0, 420.0)],
            [(0.0, 250.0, 430.0), (4.0, 550.0, 610.0)],
        ),
    }
    scales = {
        "scores up to 0.2": ((0.0, 0.2), "fixed thresholds see nobody"),
        "scores from 0.5 on": ((0.5, 0.5), "fixed thresholds count a shadow"),
        "scores in per cent": ((0.0, 100.0), "no threshold between 0 and 1 separates them"),
    }
    for place, (points, way, shadow) in lines.items():
        movers = [
            Mover(way),
            Mover([(0.0, 1100.0, 250.0), (6.0, 1100.0, 250.0)], score=0.6),
            Mover(shadow, score=0.1, fps=10 / 3),
        ]
        for name, (scale, remark) in scales.items():
            yield Case(f"{name}, {place}", remark, movers, IN, {"gate": points}, score_scale=scale)


def _motion() -> Iterator[Case]:
    """Objects that take long to pass a line."""
    vertical = {"gate": ((640.0, 700.0), (640.0, 20.0))}
    diagonal = {"gate": ((300.0, 600.0), (900.0, 150.0))}
    near, far = (120.0, 300.0), (8.0, 20.0)
    slow = "5 s from the line to clear of it; dated when it met the line"
    crawl: Path = [(0, 600, 300), (2, 600, 360), (7, 600, 380), (8, 600, 420)]
    yield Case("crawls over", slow, [Mover(crawl)], IN, met_at=(2.0,))
    aside: Path = [(0, 400, 500), (2, 640, 500), (7, 700, 500), (8, 800, 500)]
    yield Case("crawls over a vertical line", slow, [Mover(aside, near)], IN, vertical, met_at=(2.0,), fps=25)
    slant: Path = [(0, 570, 330), (2, 600, 375), (7, 603, 378), (8, 612, 390)]
    yield Case("crawls over a diagonal line, far away", slow, [Mover(slant, far)], IN, diagonal, met_at=(2.0,))


def _doors() -> Iterator[Case]:
    """Objects that come into view just before a line: out of a door, or from behind somebody who stands there."""
    vertical = {"gate": ((640.0, 700.0), (640.0, 20.0))}
    diagonal = {"gate": ((300.0, 600.0), (900.0, 150.0))}
    near, far = (120.0, 300.0), (16.0, 40.0)
    door = "never clear before the line: its motion shows where it comes from"
    yield Case("comes into view before the line", door, [Mover([(0, 600, 352), (2, 600, 512)])], IN)
    walks: Path = [(0, 619, 500), (2, 940, 500)]
    yield Case("comes into view before a vertical line, near", door, [Mover(walks, near)], IN, vertical, fps=25)
    slant: Path = [(0, 591.3, 375), (2, 648, 375)]
    yield Case("comes into view before a diagonal line, far away", door, [Mover(slant, far)], IN, diagonal, fps=30)
    somebody = [Mover(stand(370, x=580)), Mover([(1, 600, 352), (3, 600, 512)])]
    yield Case("comes into view behind somebody", door, somebody, IN)
    turns = "moves over the line, and back"
    turning: Path = [(0, 600, 352), (0.4, 600, 370), (0.8, 600, 352), (3, 600, 250)]
    yield Case("comes into view before the line and turns", turns, [Mover(turning)], NONE)
    aside: Path = [(0, 619, 500), (0.4, 676, 500), (0.8, 619, 500), (3, 300, 500)]
    yield Case("comes into view before a vertical line and turns", turns, [Mover(aside, near)], NONE, vertical, fps=25)
    halt: Path = [(0, 591.3, 375), (0.5, 610, 375), (4, 610, 375)]
    yield Case("comes into view before a diagonal line and stops on it", "is clear on no side", [Mover(halt, far)],
               NONE, diagonal, fps=30)  # fmt: skip
    legs = [Mover(down(seconds=4, y=204, to=524)), Mover([(1.9, 600, 356), (4, 600, 524)], (40.0, 40.0))]
    yield Case("legs come into view before the line", "a second box of somebody who counts", legs, IN, upright=True)


def all_cases() -> list[Case]:
    """Return every case, in the order of the table."""
    groups = (
        *(_published, _lines, _hysteresis, _identity, _strangers, _boxes),
        *(_noise, _scores, _motion, _doors, _halves, _feet, _reported, _time, _zones),
    )
    return [case for group in groups for case in group()]
