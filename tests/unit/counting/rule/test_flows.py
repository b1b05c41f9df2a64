"""The line or zone from which objects came, and the one to which they went."""

import json

from hypothesis import given
from hypothesis import strategies as st
from tests.fixtures.counting.paths import SIZE, norm, spec, tracked
from typer.testing import CliRunner

from countline_common.cli.app import app
from countline_counting.counter import CameraCounter
from countline_counting.events import Crossing, Direction, Visit
from countline_counting.identity import Identity
from countline_counting.rule.flows import Flow, Flows, matrix
from countline_counting.spec import Line


def crossed(track: int, t: float, line: str = "north", way: str = "in", class_id: int = 0) -> Crossing:
    return Crossing(f"{track}{t}{line}", line, 1, track, 0, t, t, 0, Direction(way), class_id, 0.9, False)


def visited(track: int, t: float, dwell_s: float, zone: str = "yard", class_id: int = 0) -> Visit:
    left_at = t + dwell_s
    return Visit(f"{track}{t}{zone}", zone, 1, track, 0, t, left_at, dwell_s, class_id, left_at, False, False, False)


def flows_of(*events) -> tuple[Flow, ...]:
    flows = Flows()
    for event in events:
        flows.add(event)
    flows.end_run()
    return flows.total()


def test_an_object_goes_from_the_first_thing_that_it_met_to_the_last():
    (flow,) = flows_of(crossed(1, 3.0, "south", "out"), visited(1, 5.0, 2.0), crossed(1, 9.5, "east"))
    assert flow == Flow("line:south:out", "line:east:in", 0, 1, 6.5)


def test_who_met_one_thing_alone_has_a_destination_and_no_origin():
    assert flows_of(crossed(1, 3.0)) == (Flow("", "line:north:in", 0, 1, None),)


def test_the_way_from_a_zone_begins_when_it_is_left_and_takes_no_time_to_what_lies_in_it():
    after, within = flows_of(visited(1, 1.0, 4.0), crossed(1, 7.0), visited(2, 1.0, 9.0), crossed(2, 3.0, "till"))
    assert (after.origin, after.mean_s) == ("zone:yard", 2.0)
    assert (within.destination, within.mean_s) == ("line:till:in", 0.0)


def test_turning_back_goes_from_a_line_to_the_same_line_the_other_way():
    (flow,) = flows_of(crossed(1, 3.0, way="in"), crossed(1, 8.0, way="out"))
    assert (flow.origin, flow.destination) == ("line:north:in", "line:north:out")


def test_the_tracks_of_another_run_are_others():
    flows = Flows()
    flows.add(crossed(1, 3.0, "south"))
    flows.end_run()
    flows.add(crossed(1, 100.0, "north"))
    flows.end_run()
    assert [flow.origin for flow in flows.total()] == ["", ""]


EVENTS = st.lists(
    st.one_of(
        st.builds(crossed, st.integers(1, 4), st.floats(0, 50), st.sampled_from("ab"), st.sampled_from(["in", "out"])),
        st.builds(visited, st.integers(1, 4), st.floats(0, 50), st.floats(0, 9), st.sampled_from("yz")),
    ),
    max_size=25,
)


@given(EVENTS, st.randoms())
def test_every_object_flows_once_in_whatever_order_its_events_come(events, chance):
    expected = flows_of(*events)
    shuffled = list(events)
    chance.shuffle(shuffled)
    reported = flows_of(*shuffled)
    assert [(f.origin, f.destination, f.count) for f in reported] == [
        (f.origin, f.destination, f.count) for f in expected
    ]
    assert sum(flow.count for flow in reported) == len({event.track for event in events})
    rows, columns, counts = matrix((flow.origin, flow.destination, flow.count) for flow in reported)
    assert sum(map(sum, counts)) == len({event.track for event in events})
    for flow in reported:
        assert counts[rows.index(flow.origin)][columns.index(flow.destination)] >= flow.count


SOUTH = Line("south", norm((300, 500), (900, 500)))
NORTH = Line("north", norm((300, 200), (900, 200)))
EAST = Line("east", norm((1000, 100), (1000, 650)))


def junction(ways, fps=10.0):
    """Frames of vehicles that drive over a junction in succession: each along its corners, 10 s apart."""
    frames = []
    for index in range(int(len(ways) * 10 * fps)):
        t = index / fps
        number, since = int(t // 10), t % 10
        corners = ways[number]
        share = min(since / 6, 1) * (len(corners) - 1)
        i = min(int(share), len(corners) - 2)
        x, y = (a + (b - a) * (share - i) for a, b in zip(corners[i], corners[i + 1], strict=True))
        frames.append((index, t, [(number + 1, x, y)] if since <= 6 else []))
    return frames


STRAIGHT = ((600, 650), (600, 350), (600, 90))
RIGHT = ((600, 650), (600, 350), (1200, 350))
FROM_EAST = ((1200, 350), (600, 350), (600, 90))


def test_turning_movements_over_a_junction_are_those_that_were_driven():
    counter = CameraCounter(Identity("c", 0, "r"), spec(lines=(SOUTH, NORTH, EAST)), tracked=True)
    flows = Flows()
    for index, t, spots in junction([STRAIGHT, RIGHT, FROM_EAST, STRAIGHT, RIGHT, STRAIGHT]):
        for event in counter.update_tracked(tracked(index, t, spots)).events:
            if isinstance(event, Crossing | Visit):
                flows.add(event)
    for event in counter.flush():
        if isinstance(event, Crossing | Visit):
            flows.add(event)
    flows.end_run()
    table = {(f.origin, f.destination): f.count for f in flows.total()}
    ways = {("south", "north"): 3, ("south", "east"): 2, ("east", "north"): 1}
    assert {(a.split(":")[1], b.split(":")[1]): n for (a, b), n in table.items()} == ways


def test_replay_tells_flows_in_json_and_shows_them_as_a_table(tmp_path):
    lines = []
    for index, t, spots in junction([STRAIGHT, RIGHT]):
        frame = tracked(index, t, spots)
        objects = [{"id": int(i), "box": box.tolist()} for i, box in zip(frame.ids, frame.xyxy_px, strict=True)]
        lines.append(json.dumps({"t": t, "objects": objects}))
    file = tmp_path / "tracks.jsonl"
    file.write_text("\n".join(lines))
    arguments = ["replay", str(file), "--size", f"{SIZE[0]}x{SIZE[1]}", "--tracked", "--pixels"]
    for line in ("south:300,500,900,500", "north:300,200,900,200"):
        arguments += ["--line", line]
    printed = CliRunner().invoke(app, [*arguments, "--zone", "yard:500,600,700,600,700,700,500,700", "--json"])
    assert printed.exit_code == 0, printed.output
    flows = {(f["origin"], f["destination"]): (f["class"], f["count"]) for f in json.loads(printed.stdout)["flows"]}
    assert flows == {("zone:yard", "line:north:out"): ("0", 1), ("zone:yard", "line:south:out"): ("0", 1)}
    shown = CliRunner().invoke(app, arguments).stdout
    assert "FROM" in shown
    assert "line:south:out" in shown


def test_zones_are_origins_too():
    (flow,) = flows_of(visited(1, 0.0, 1.0, "yard", class_id=2), visited(1, 2.0, 1.0, "hall", class_id=2))
    assert flow == Flow("zone:yard", "zone:hall", 2, 1, 1.0)
