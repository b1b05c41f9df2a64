"""What the changes of a camera meant for counting."""

from dataclasses import replace

from countline_common.display import PictureShape
from countline_control.cameras.commands import deciding
from countline_control.cameras.domain import Camera, CameraSpec, LineSpec
from countline_control.cameras.events import differences
from countline_control.cameras.events.domain import CameraImported, Recorded, RecordedCamera, folded
from countline_control.cameras.history.changes import PastChange, changes_of, consequences
from countline_control.cameras.lifecycle import WantedStatus

GATE = LineSpec("gate", ((0.1, 0.5), (0.9, 0.5)))
LOWER = replace(GATE, points=((0.1, 0.6), (0.9, 0.6)))


class Life:
    """A stream that commands make, with the clock in the hands of the test."""

    def __init__(self, *lines: LineSpec) -> None:
        self.events: list[Recorded] = []
        self.state = RecordedCamera()
        wanted = Camera("door", "lab", "Door", "rtsp://h/live", spec=CameraSpec(lines=lines))
        self._commit(deciding.creation(self.state, wanted, 0.0, lambda _: ""), 0.0)

    @property
    def camera(self) -> Camera:
        assert self.state.camera is not None
        return self.state.camera

    def change(self, at: float, given: Camera, *paths: str) -> None:
        self._commit(deciding.change(self.state, self.camera, given, paths, at, lambda _: ""), at)

    def become(self, at: float, status: WantedStatus) -> None:
        self.change(at, Camera("door", status=status), "status")

    def see(self, at: float, width: int, height: int) -> None:
        self._commit(deciding.picture_seen(self.state, self.camera, PictureShape((width, height)), at), at)

    def _commit(self, decision: deciding.CameraDecision | None, at: float) -> None:
        assert decision is not None
        events = differences.recorded(len(self.events), decision.events, revision=decision.revision, at=at, actor="ann")
        self.state = folded(events, self.state)
        self.events += events

    def meant(self) -> list[list[tuple[str, str, float | None]]]:
        """Effect, text and lost seconds of each change after the creation."""
        changes = list(changes_of(RecordedCamera(), self.events))[1:]
        return [[(each.effect.value, each.text, each.lost_s) for each in consequences(one)] for one in changes]


def test_a_moved_line_begins_a_version_without_a_gap() -> None:
    life = Life(GATE)
    life.change(60.0, Camera("door", spec=CameraSpec(lines=(LOWER,))), "spec.lines")
    assert life.meant() == [
        [
            ("new_version", "line gate counts with version 2; the counts of version 1 stay apart", 0.0),
            ("no_gap", "the source stays open: the run goes on, no coverage is lost", 0.0),
        ]
    ]


def test_a_turned_picture_begins_versions_too() -> None:
    life = Life(GATE)
    life.see(10.0, 640, 360)
    life.see(20.0, 360, 640)
    first, second = life.meant()
    assert first == []
    assert second[0] == ("new_version", "line gate counts with version 2; the counts of version 1 stay apart", 0.0)


def test_a_resumed_camera_was_stopped_from_the_first_stop_on() -> None:
    life = Life()
    life.become(100.0, WantedStatus.PAUSED)
    life.become(400.0, WantedStatus.INACTIVE)
    life.change(500.0, Camera("door", name="Gate"), "name")
    life.become(100.0 + 3600 + 61, WantedStatus.ACTIVE)
    stop, off, renamed, start = life.meant()
    assert stop == [("stop", "counting stops; coverage is lost until it is active again", None)]
    assert off == renamed == []
    text = "a worker starts it; coverage begins with its first picture; it was stopped for 1 h 1 min 1 s"
    assert start == [("start", text, 3661.0)]


def test_another_address_opens_the_source_again() -> None:
    life = Life()
    life.change(5.0, Camera("door", stream_url="rtsp://h/other"), "stream_url")
    ((consequence,),) = life.meant()
    assert (consequence[0], consequence[2]) == ("new_run", 8.0)


def test_a_password_that_readers_do_not_see_opens_the_source_again_too() -> None:
    before = RecordedCamera(Camera("door", "lab", "Door", "rtsp://joe:***@h/live", status=WantedStatus.ACTIVE), "one")
    after = replace(before, secret_id="two")
    assert after.camera is not None
    events = differences.recorded(4, differences.change(before, after.camera, "two"), revision=3, at=9.0, actor="ann")
    (change,) = changes_of(before, events)
    assert [each.effect.value for each in consequences(change)] == ["new_run"]


def test_what_an_older_release_left_claims_nothing_about_counting() -> None:
    camera = Camera("door", "lab", "Door", "rtsp://h/live", status=WantedStatus.PAUSED)
    imported = Recorded(1, 1, 3, 5.0, "migration", CameraImported(RecordedCamera(camera)))
    (change,) = changes_of(RecordedCamera(), [imported])
    assert [(each.effect.value, each.lost_s) for each in consequences(change)] == [("history", 0.0)]
    resumed = replace(change.after, camera=replace(camera, status=WantedStatus.ACTIVE))
    events = differences.recorded(1, differences.change(change.after, resumed.camera, ""), revision=4, at=9.0, actor="")
    (start,) = changes_of(change.after, events)
    assert isinstance(start, PastChange)
    assert [each.lost_s for each in consequences(start)] == [None], "since when it was paused is not known"
