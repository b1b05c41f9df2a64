"""Wrong pipelines, each refused by the double for the reason that the real DeepStream has, or would hide."""

from pathlib import Path

import pytest
from tests.fixtures.clips import Pass, render
from tests.fixtures.doubles.rig import LIBRARY, rig, tensor_config, tracker_config

UNREACHABLE = "127.0.0.1:1"


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> str:
    return render(tmp_path_factory.mktemp("clips") / "clip.mp4", [Pass(True, seconds=0.5)]).as_uri()


WRONG_PROPERTIES = [
    ("a misspelt name", "nvurisrcbin", "drop-frame-intervall", 2),
    ("a property of another release", "nvurisrcbin", "leaky", 1),
    ("a property that an agent's page invents", "nvurisrcbin", "num-buffers", 5),
    ("the address as bytes", "nvurisrcbin", "uri", b"file:///clip.mp4"),
    ("a number as text", "nvurisrcbin", "latency", "fast"),
    ("a list for a number", "nvstreammux", "batch-size", [4]),
    ("the name that the wrapper bin has", "nvstreammux", "max-batch-size", 4),
    ("a field of the file as a property", "nvinferserver", "output-tensor-meta", True),
    ("another field of the file as a property", "nvinferserver", "gpu-id", 0),
    ("the configuration as a number", "nvinferserver", "config-file-path", 1),
    ("a key of older releases", "nvtracker", "enable-batch-process", True),
    ("the name that nvinferserver has", "nvtracker", "config-file", "tracker.yml"),
    ("a property that is only read", "nvurisrcbin", "smart-rec-status", True),
]


@pytest.mark.parametrize(
    ("element", "name", "value"), [row[1:] for row in WRONG_PROPERTIES], ids=[row[0] for row in WRONG_PROPERTIES]
)
def test_a_wrong_property_is_a_type_error(deepstream_double, element, name, value):
    from gi.repository import Gst

    made = Gst.ElementFactory.make(element, None)
    with pytest.raises(TypeError):
        made.set_property(name, value)


@pytest.mark.parametrize("name", ["width", "height", "live-source", "enable-padding", "buffer-pool-size", "gpu-id"])
def test_a_property_of_the_legacy_muxer_fails_on_the_new_one(deepstream_double, name):
    from gi.repository import Gst

    made = Gst.ElementFactory.make("nvstreammux", None)
    with pytest.raises(TypeError):
        made.set_property(name, 1)


@pytest.mark.parametrize("value", ["YES", "1", "", None])
def test_without_the_exact_word_there_is_no_new_muxer(deepstream_double, monkeypatch, value):
    from gi.repository import Gst

    monkeypatch.delenv("USE_NEW_NVSTREAMMUX")
    if value is not None:
        monkeypatch.setenv("USE_NEW_NVSTREAMMUX", value)
    assert Gst.ElementFactory.make("nvstreammux", None) is None
    assert "legacy muxer" in deepstream_double.ledger.take_complaints()[0]


OUT_OF_RANGE = [
    ("nvurisrcbin", "drop-frame-interval", 31),
    ("nvurisrcbin", "select-rtp-protocol", 7),
    ("nvstreammux", "batch-size", 1025),
    ("nvstreammux", "batched-push-timeout", 0),
    ("nvstreammux", "num-surfaces-per-frame", 9),
    ("nvinferserver", "process-mode", 3),
    ("nvtracker", "tracking-id-reset-mode", 4),
]


@pytest.mark.parametrize(("element", "name", "value"), OUT_OF_RANGE)
def test_a_value_out_of_range_is_reported_and_the_old_one_stays(deepstream_double, element, name, value):
    from gi.repository import Gst

    made = Gst.ElementFactory.make(element, None)
    before = made.get_property(name)
    made.set_property(name, value)
    assert "out of range" in deepstream_double.ledger.take_complaints()[0]
    assert made.get_property(name) == before


@pytest.mark.parametrize("deepstream_double", ["8.0"], indirect=True)
def test_the_protocols_of_8_0_are_taken_by_8_0(deepstream_double):
    from gi.repository import Gst

    made = Gst.ElementFactory.make("nvurisrcbin", None)
    made.set_property("select-rtp-protocol", 20)
    assert int(made.get_property("select-rtp-protocol")) == 20


def test_the_muxer_has_no_endless_wait(deepstream_double):
    from gi.repository import Gst

    Gst.ElementFactory.make("nvstreammux", None).set_property("batched-push-timeout", -1)
    assert "out of range" in deepstream_double.ledger.take_complaints()[0]


def test_underscores_are_dashes(deepstream_double):
    from gi.repository import Gst

    made = Gst.ElementFactory.make("nvstreammux", None)
    made.set_property("batch_size", 3)
    assert made.get_property("batch-size") == 3


def test_a_property_for_ready_that_is_set_while_playing_is_reported(deepstream_double, clip):
    with rig(deepstream_double) as made:
        made.chain(batch_size=1)
        source = made.source(0, clip)
        made.run()
        source.set_property("drop-frame-interval", 2)
    assert "NULL or READY only" in deepstream_double.ledger.take_complaints()[0]


def test_a_source_without_an_address_does_not_start(deepstream_double):
    with rig(deepstream_double) as made:
        made.chain(batch_size=1)
        made.make("nvurisrcbin")
        assert made.play() == made.gst.StateChangeReturn.FAILURE
        assert "uri is not set" in made.first_error()


@pytest.mark.parametrize("name", ["sink", "sink_x", "src_0", None])
def test_the_muxer_has_pads_of_one_form_of_name(deepstream_double, name):
    from gi.repository import Gst

    mux = Gst.ElementFactory.make("nvstreammux", None)
    if name is None:
        assert mux.request_pad(mux.get_pad_template("sink_%u"), None, None) is None
        assert "sink_N" in deepstream_double.ledger.take_complaints()[0]
    else:
        assert mux.request_pad_simple(name) is None


@pytest.mark.parametrize("element", ["nvinferserver", "nvtracker"])
def test_plain_video_does_not_link_to_what_needs_nvmm(deepstream_double, element):
    with rig(deepstream_double) as made:
        plain = made.make("capsfilter", caps=made.gst.Caps.from_string("video/x-raw, format=NV12"))
        assert not plain.link(made.make(element))


def test_a_filter_refuses_frames_that_no_muxer_batched(deepstream_double, clip, tmp_path):
    with rig(deepstream_double) as made:
        tracker = made.make("nvtracker", ll_lib_file=LIBRARY, ll_config_file=str(tracker_config(tmp_path)))
        tracker.link(made.make("fakesink", sync=False))
        source = made.make("nvurisrcbin", uri=clip)
        source.connect("pad-added", lambda _source, pad: pad.link(tracker.get_static_pad("sink")))
        made.play()
        assert "without NvDsBatchMeta" in made.first_error()


TRACKERS = [
    ("no library", {"ll_config_file": "GOOD"}, "ll-lib-file is not set"),
    ("another library", {"ll_lib_file": "/usr/lib/libmine.so", "ll_config_file": "GOOD"}, "failed to open"),
    ("no configuration", {"ll_lib_file": LIBRARY}, "ll-config-file is not set"),
    ("a missing file", {"ll_lib_file": LIBRARY, "ll_config_file": "/none.yml"}, "cannot read"),
    ("an unknown key", {"ll_lib_file": LIBRARY, "ll_config_file": "UNKNOWN"}, "unknown key"),
    ("no first line", {"ll_lib_file": LIBRARY, "ll_config_file": "HEADLESS"}, "first line"),
    ("a width for NvDCF that 32 does not divide",
     {"ll_lib_file": LIBRARY, "ll_config_file": "VISUAL", "tracker_width": 970}, "multiples of 32"),
]  # fmt: skip


@pytest.fixture
def tracker_files(tmp_path) -> dict[str, str]:
    texts = {
        "GOOD": "%YAML:1.0\nTargetManagement:\n  probationAge: 2\n",
        "UNKNOWN": "%YAML:1.0\nTargetManagement:\n  probation: 2\n",
        "HEADLESS": "TargetManagement:\n  probationAge: 2\n",
        "VISUAL": "%YAML:1.0\nTargetManagement:\n  probationAge: 2\nVisualTracker:\n  visualTrackerType: 1\n",
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    return {name: str(tmp_path / name) for name in texts}


@pytest.mark.parametrize(("properties", "reason"), [row[1:] for row in TRACKERS], ids=[row[0] for row in TRACKERS])
def test_a_tracker_that_is_not_set_up_does_not_start(deepstream_double, tracker_files, properties, reason):
    values = {name: tracker_files.get(value, value) for name, value in properties.items()}
    with rig(deepstream_double) as made:
        made.chain(made.make("nvtracker", **values), batch_size=1)
        assert made.play() == made.gst.StateChangeReturn.FAILURE
        assert reason in made.first_error()


SERVERS = [
    ("no Triton", {"url": UNREACHABLE}, "Triton at"),
    ("a model that is not there", {"model": "nobody"}, "nobody"),
    ("the order of channels first", {"order": "TENSOR_ORDER_LINEAR"}, "does not fit"),
    ("batches beyond the model's", {"batch": 500}, "above that of the model"),
]


@pytest.mark.parametrize(("changed", "reason"), [row[1:] for row in SERVERS], ids=[row[0] for row in SERVERS])
def test_inference_that_cannot_work_does_not_start(deepstream_double, blob_triton, tmp_path, changed, reason):
    config = tensor_config(tmp_path, **({"url": blob_triton} | changed))
    with rig(deepstream_double) as made:
        infer = made.make("nvinferserver", config_file_path=str(config))
        made.chain(infer, batch_size=1)
        assert made.play() == made.gst.StateChangeReturn.FAILURE
        assert reason in made.first_error()


@pytest.mark.parametrize("path", ["", "/none.txt"])
def test_inference_without_its_file_does_not_start(deepstream_double, path):
    with rig(deepstream_double) as made:
        infer = made.make("nvinferserver", config_file_path=path)
        made.chain(infer, batch_size=1)
        assert made.play() == made.gst.StateChangeReturn.FAILURE


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[property]\nbatch-sise=4\n", "batch-sise"),
        ("[properties]\nbatch-size=4\n", "properties"),
        ("batch-size=4\n", ""),
    ],
)
def test_the_muxer_refuses_a_bad_key_file(deepstream_double, tmp_path: Path, text, reason):
    path = tmp_path / "mux.txt"
    path.write_text(text)
    with rig(deepstream_double) as made:
        made.chain(batch_size=1, config_file_path=str(path))
        assert made.play() == made.gst.StateChangeReturn.FAILURE
        assert reason in made.first_error()
