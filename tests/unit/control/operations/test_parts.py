"""A part that is silent while others report is lost."""

from countline.v1.parts_pb2 import PART_STATE_HEALTHY, PART_STATE_LOST, Part, PartReport
from countline_control.operations.part_service import LOST_AFTER_S, SeenReport, running_parts


def test_silent_parts_are_lost_by_the_clock_of_nats_alone() -> None:
    def report(name: str, instance: str, seen_at: float) -> SeenReport:
        return SeenReport(PartReport(part=Part(name=name, instance=instance, state=PART_STATE_HEALTHY)), seen_at)

    reports = [report("worker", "b", 100.0), report("worker", "a", 99.0 - LOST_AFTER_S), report("api", "", 99.0)]
    found = [(part.name, part.instance, part.state) for part in running_parts(reports)]
    assert found == [
        ("api", "", PART_STATE_HEALTHY),
        ("worker", "a", PART_STATE_LOST),
        ("worker", "b", PART_STATE_HEALTHY),
    ]
    assert running_parts([]) == []
