"""The gst-launch-1.0 command of a pipeline, to play it by hand; pure."""

from collections.abc import Mapping
from pathlib import Path

from countline_common.redaction import redact
from countline_pipelines.planes.deepstream.config import properties
from countline_pipelines.planes.deepstream.config.facts import NEW_MUX, NEW_MUX_VARIABLE, Value
from countline_pipelines.planes.deepstream.config.files import PipelineFiles
from countline_pipelines.planes.deepstream.config.properties import PipelineOptions
from countline_pipelines.sources import SourceSpec


def launch_line(options: PipelineOptions, folder: Path, source: SourceSpec) -> str:
    """The command that plays the pipeline with one source. A worker adds probes, and turns pictures.

    Args:
        options: of the pipeline.
        folder: with the pipeline's files.
        source: on the first pad of the muxer.
    """
    files = PipelineFiles(folder)
    chain = [
        ("nvstreammux name=mux", properties.mux_properties(options, files.mux)),
        ("queue", properties.queue_properties(options)),
        ("nvinferserver", properties.infer_properties(options, files.inference)),
        ("nvtracker", properties.tracker_properties(options, files.tracker)),
        ("fakesink", properties.sink_properties(options)),
    ]
    main = " ! ".join(_element(name, values) for name, values in chain)
    first = _element("nvurisrcbin", properties.source_properties(options, source, 0))
    convert = _element("nvvideoconvert", properties.convert_properties(options))
    return redact(f"{NEW_MUX_VARIABLE}={NEW_MUX} gst-launch-1.0 {main} {first} ! {convert} ! mux.sink_0")


def _element(name: str, values: Mapping[str, Value]) -> str:
    return " ".join((name, *(f"{key}={_value(value)}" for key, value in values.items())))


def _value(value: Value) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    text = str(value)
    return f'"{text}"' if any(sign in text for sign in " !;&?") else text
