"""The line of `--print-pipeline`, played by hand: GStreamer takes it as it is, and frames come to its end."""

import shlex
import time
from pathlib import Path
from typing import Any

import pytest
from tests.doubles.deepstream import Installed
from tests.fixtures.pipelines.deepstream_bench import install_root
from tests.fixtures.triton import TritonServer

from countline_pipelines.planes.deepstream.config.description import launch_line
from countline_pipelines.planes.deepstream.config.facts import Release
from countline_pipelines.planes.deepstream.config.files import write_files
from countline_pipelines.planes.deepstream.config.properties import BoxPath, PipelineOptions
from countline_pipelines.planes.deepstream.gst.library import select_new_mux
from countline_pipelines.sources import Playback, SourceSpec
from countline_pipelines.triton import Transport
from countline_pipelines.triton.client import TritonClient

WAIT_S = 30.0


@pytest.mark.parametrize("deepstream_double", [release.value for release in Release], indirect=True)
async def test_the_printed_line_plays_with_its_files(
    deepstream_double: Installed, blob_triton: TritonServer, clip: Path, tmp_path: Path
) -> None:
    from gi.repository import Gst

    release = Release(deepstream_double.facts.release)
    options = PipelineOptions(release, BoxPath.PYTHON, root=install_root(tmp_path, release.value))
    async with await TritonClient.connect(blob_triton.grpc, Transport.GRPC, timeout_s=5) as client:
        info = await client.load("blob")
    write_files(tmp_path, info, blob_triton.grpc, options)
    line = launch_line(options, tmp_path, SourceSpec(str(clip), Playback.FAST))
    variable, program, *words = shlex.split(line)
    assert (variable, program) == ("USE_NEW_NVSTREAMMUX=yes", "gst-launch-1.0")
    select_new_mux()
    pipeline = Gst.parse_launch(" ".join(words))
    pipeline.set_state(Gst.State.PLAYING)
    try:
        assert heard(pipeline, Gst) == "stream-eos"
    finally:
        pipeline.set_state(Gst.State.NULL)
    assert deepstream_double.ledger.pyds_calls.total() == 0, "there are no probes of ours"


def heard(pipeline: Any, gst: Any) -> str:
    """The end of the source, or what went wrong."""
    bus, until = pipeline.get_bus(), time.monotonic() + WAIT_S
    while time.monotonic() < until:
        message = bus.timed_pop_filtered(gst.SECOND, gst.MessageType.ERROR | gst.MessageType.ELEMENT)
        if message is not None and message.type == gst.MessageType.ERROR:
            return message.parse_error()[0].message
        if message is not None and message.get_structure().get_name() == "stream-eos":
            return "stream-eos"
    return "nothing"
