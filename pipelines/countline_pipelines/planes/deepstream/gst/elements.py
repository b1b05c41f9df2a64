"""Builds GStreamer elements and links them."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from countline_pipelines.planes.deepstream.config.facts import Value
from countline_pipelines.planes.deepstream.gst.library import PipelineError


def make(gst: Any, factory: str, name: str | None, values: Mapping[str, Value] | None = None) -> Any:
    """An element with its properties.

    Args:
        gst: the module `gi.repository.Gst`.
        factory: kind of the element.
        name: of the element; None for a generated one.
        values: properties, already checked against the facts.

    Raises:
        PipelineError: GStreamer has no such element, or refuses a property.
    """
    element = gst.ElementFactory.make(factory, name)
    if element is None:
        raise PipelineError(f"GStreamer has no element {factory!r}", hint="see what is missing: countline doctor")
    for prop, value in (values or {}).items():
        try:
            element.set_property(prop, value)
        except (TypeError, ValueError, OverflowError) as error:
            raise PipelineError(
                f"{factory}.{prop} = {value!r}: {error}",
                hint="check that COUNTLINE_DEEPSTREAM_RELEASE names the installed release",
            ) from error
    return element


def add_chain(pipeline: Any, elements: Sequence[Any]) -> None:
    """Add elements to a pipeline and link each to the next one.

    Raises:
        PipelineError: two elements do not link.
    """
    for element in elements:
        pipeline.add(element)
    for first, second in pairwise(elements):
        if not first.link(second):
            raise PipelineError(f"{first.get_name()} does not link to {second.get_name()}", hint="see the worker's log")
