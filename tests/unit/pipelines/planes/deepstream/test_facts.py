"""What each release takes; the whole of it is held against the double's own tables in integration."""

import pytest

from countline_pipelines.planes.deepstream.config import properties
from countline_pipelines.planes.deepstream.config.facts import PropertyError, Release, checked
from countline_pipelines.planes.deepstream.config.properties import PipelineOptions
from countline_pipelines.sources import Playback, RtspTransport, SourceSpec

LEGACY_ONLY = ("width", "height", "live-source", "gpu-id", "nvbuf-memory-type", "enable-padding", "buffer-pool-size")


@pytest.mark.parametrize("name", LEGACY_ONLY)
def test_a_property_of_the_legacy_muxer_is_refused(name: str) -> None:
    with pytest.raises(PropertyError, match=name):
        checked("nvstreammux", {name: 1}, Release.V7_1)


@pytest.mark.parametrize(
    ("element", "name", "value", "words"),
    [
        ("nvinferserver", "gpu-id", 0, "no such property"),  # an NVIDIA page lists it; it is a field of the file
        ("nvinferserver", "output-tensor-meta", True, "no such property"),  # the same
        ("nvtracker", "enable-batch-process", True, "no such property"),  # of older releases
        ("nvurisrcbin", "init-rtsp-reconnect-interval", 5, "no such property"),  # of later releases
        ("nvurisrcbin", "uri", 3, "expects str"),
        ("nvurisrcbin", "file-loop", 1, "expects bool"),
        ("nvstreammux", "batch-size", 2000, "0 to 1024"),
        ("nvtracker", "tracking-id-reset-mode", 4, "0 to 3"),
        ("nvvideoconvert", "nvbuf-memory-type", 9, "one of"),
        ("nvdsosd", "gpu-id", 0, "does not use such an element"),
    ],
)
def test_what_an_element_does_not_take_is_refused(element: str, name: str, value: object, words: str) -> None:
    with pytest.raises(PropertyError, match=words):
        checked(element, {name: value}, Release.V7_1)


def test_only_8_0_has_a_word_for_udp_alone() -> None:
    spec = SourceSpec("rtsp://camera/live", Playback.LIVE, RtspTransport.UDP)
    old, new = (
        properties.source_properties(PipelineOptions(release), spec, 0)["select-rtp-protocol"] for release in Release
    )
    assert (old, new) == (properties.RTP_MULTI, properties.RTP_UDP)
    with pytest.raises(PropertyError, match="one of 0, 4"):
        checked("nvurisrcbin", {"select-rtp-protocol": properties.RTP_UDP}, Release.V7_1)


@pytest.mark.parametrize("release", Release)
def test_a_silent_camera_never_holds_up_the_others(release: Release, tmp_path) -> None:
    options = PipelineOptions(release, capacity=8, frame_rate=25)
    values = properties.mux_properties(options, tmp_path / "mux.txt")
    assert values["batch-size"] == 8
    assert values["drop-pipeline-eos"] is True
    assert values["config-file-path"] == str(tmp_path / "mux.txt")
    assert "overall-min-fps-n=25" in properties.mux_config(options)


def test_a_file_has_no_watchdog_and_a_camera_has_one(tmp_path) -> None:
    options = PipelineOptions(Release.V7_1)
    file = properties.source_properties(options, SourceSpec(str(tmp_path / "a b.mp4"), Playback.FAST), 4)
    assert file["uri"] == (tmp_path / "a b.mp4").as_uri()
    assert "%20" in file["uri"]
    assert "rtsp-reconnect-interval" not in file
    camera = properties.source_properties(options, SourceSpec("rtsp://host/live", Playback.LIVE), 7)
    assert camera["source-id"] == 7
    assert camera["rtsp-reconnect-interval"] > 0
    assert camera["rtsp-reconnect-attempts"] > 0, "else a lost camera would never be reported"


def test_the_trackers_size_must_be_a_multiple_of_32(tmp_path) -> None:
    with pytest.raises(PropertyError, match="multiples of 32"):
        properties.tracker_properties(PipelineOptions(Release.V7_1, tracker_wh=(960, 540)), tmp_path)
