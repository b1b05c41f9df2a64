"""nvvideoconvert: converts memory (system, NVMM), format, orientation and size; batches are converted in place."""

from typing import Any

from gi.repository import Gst, GstVideo
from tests.doubles.deepstream import pixels
from tests.doubles.deepstream.batches import Picture
from tests.doubles.deepstream.elements.base import NVMM, DeepStreamElement, pad_template

_FORMATS = "{NV12,RGBA}"
_CAPS = f"{NVMM}, format={_FORMATS}; video/x-raw, format={_FORMATS}"


class VideoConvert(DeepStreamElement):
    """Converts to what the next element wants: a frame into a new buffer, a batch within its buffer."""

    __gstmetadata__ = (
        "NvVideoConvert Plugin",
        "Filter/Converter/Video/Scaler",
        "Double of nvvideoconvert",
        "Countline tests",
    )
    __gsttemplates__ = (
        pad_template("sink", Gst.PadDirection.SINK, Gst.PadPresence.ALWAYS, _CAPS),
        pad_template("src", Gst.PadDirection.SRC, Gst.PadPresence.ALWAYS, _CAPS),
    )

    def set_up(self) -> None:
        self._sink = Gst.Pad.new_from_template(self.get_pad_template("sink"), "sink")
        self._source = Gst.Pad.new_from_template(self.get_pad_template("src"), "src")
        self._sink.set_chain_function_full(_chain)
        self._sink.set_event_function_full(_event)
        self._incoming: Any = None
        self._caps: Any = None
        self._wanted = Picture(pixels.NOTHING, "", 0, 0)
        for pad in (self._sink, self._source):
            self.installed.ledger.pad_made(pad)
            self.add_pad(pad)

    def negotiate(self, caps: Any) -> bool:
        """Choose the output: what the next element wants, the rest as in the input."""
        possible = self._source.peer_query_caps(None).intersect(self._source.get_pad_template_caps())
        if possible.is_empty():
            return False
        self._incoming, self._caps = video_info(caps), caps
        chosen = _fixed(possible, caps.get_structure(0))
        structure = chosen.get_structure(0)
        self._wanted = Picture(
            pixels.NOTHING,
            structure.get_string("format"),
            structure.get_value("width"),
            structure.get_value("height"),
        )
        return self._source.push_event(Gst.Event.new_caps(chosen))

    def convert(self, buffer: Any) -> Any:
        """Convert a frame or a batch to the chosen output."""
        batch = self.installed.batches.find(hash(buffer))
        if batch is not None:
            batch.pictures[:] = [self._converted(each) for each in batch.pictures]
            return buffer
        if self._source.check_reconfigure() and self._caps is not None:
            self.negotiate(self._caps)  # as GstBaseTransform does when the next element wants other caps
        info, wanted = self._incoming, self._wanted
        have = (info.finfo.name, info.width, info.height)
        if not self.value("flip-method") and have == (wanted.format, wanted.width, wanted.height):
            return buffer
        made = Gst.Buffer.new_wrapped(pixels.to_bytes(self._converted(picture_of(buffer, info))))
        made.pts, made.duration = buffer.pts, buffer.duration
        return made

    def _converted(self, picture: Picture) -> Picture:
        picture = pixels.turned(picture, self.value("flip-method"))
        return pixels.converted(picture, self._wanted.format, self._wanted.width, self._wanted.height)


def video_info(caps: Any) -> Any:
    """GstVideoInfo of caps, without their memory feature."""
    plain = caps.copy()
    plain.set_features_simple(None)
    return GstVideo.VideoInfo.new_from_caps(plain)


def picture_of(buffer: Any, info: Any) -> Picture:
    """The picture of a buffer with one frame."""
    data = buffer.extract_dup(0, buffer.get_size())
    meta = GstVideo.buffer_get_video_meta(buffer)
    strides, offsets = (meta.stride, meta.offset) if meta else (info.stride, info.offset)
    if info.finfo.name == "RGBA":
        planes = pixels.rgba_of(data, info.width, info.height, strides[0], offsets[0])
        return Picture(planes, "RGBA", info.width, info.height)
    width, height = info.width & ~1, info.height & ~1
    planes = pixels.nv12_of(data, width, height, tuple(strides[:2]), tuple(offsets[:2]))
    return Picture(planes, "NV12", width, height)


def _fixed(possible: Any, incoming: Any) -> Any:
    """The first of the possible caps; open fields are taken from the incoming caps."""
    structure = possible.get_structure(0).copy()
    for name in ("width", "height"):
        if structure.has_field(name):
            structure.fixate_field_nearest_int(name, incoming.get_value(name))
        else:
            structure.set_value(name, incoming.get_value(name))
    formats = structure.get_value("format")
    options = [formats] if isinstance(formats, str) else list(formats)
    own = incoming.get_string("format")
    structure.set_value("format", own if own in options else options[0])
    if not structure.has_field("framerate") and incoming.has_field("framerate"):
        structure.set_value("framerate", incoming.get_value("framerate"))
    for name in ("batch-size", "num-surfaces-per-frame", "pixel-aspect-ratio"):
        if incoming.has_field(name) and not structure.has_field(name):
            structure.set_value(name, incoming.get_value(name))
    chosen = Gst.Caps.new_empty()
    chosen.append_structure_full(structure, possible.get_features(0).copy())
    return chosen


def _chain(_pad: Any, parent: Any, buffer: Any) -> Any:
    return parent._source.push(parent.convert(buffer))


def _event(pad: Any, parent: Any, event: Any) -> bool:
    if event.type == Gst.EventType.CAPS:
        return parent.negotiate(event.parse_caps())
    return pad.event_default(parent, event)
