"""nvvideoconvert: between system memory and NVMM, and between formats; batches are converted where they lie."""

from typing import Any

from gi.repository import Gst, GstVideo
from tests.doubles.deepstream import native, pixels
from tests.doubles.deepstream.elements.base import NVMM, DeepStreamElement, pad_template

_FORMATS = "{NV12,RGBA}"
_CAPS = f"{NVMM}, format={_FORMATS}; video/x-raw, format={_FORMATS}"


class VideoConvert(DeepStreamElement):
    """Converts one frame or a whole batch; it does not scale. The caps behind it say what is wanted."""

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
        self._info: Any = None
        self._format = ""
        for pad in (self._sink, self._source):
            self.installed.ledger.pad_made(pad)
            self.add_pad(pad)

    def negotiate(self, caps: Any) -> bool:
        """Choose what comes out: of what is wanted behind, the format of the input if possible."""
        structure = caps.get_structure(0)
        self._info = GstVideo.VideoInfo.new_from_caps(_plain(caps))
        wanted = self._source.peer_query_caps(None).intersect(self._source.get_pad_template_caps())
        if wanted.is_empty():
            return False
        features = wanted.get_features(0).copy()
        chosen = Gst.Caps.new_empty()
        outgoing = structure.copy()
        self._format = _pick(wanted, structure.get_string("format"))
        outgoing.set_value("format", self._format)
        chosen.append_structure_full(outgoing, features)
        return self._source.push_event(Gst.Event.new_caps(chosen))

    def convert(self, buffer: Any) -> Any:
        """A frame or a batch in the chosen format."""
        batch = self.installed.batches.find(hash(buffer))
        if batch is not None:
            batch.pictures[:] = [
                pixels.rgba(each) if self._format == "RGBA" and each.format != "RGBA" else each
                for each in batch.pictures
            ]
        elif self._info is not None and self._format != self._info.finfo.name:
            return None
        return buffer


def _pick(wanted: Any, incoming: str) -> str:
    for index in range(wanted.get_size()):
        formats = wanted.get_structure(index).get_value("format")
        options = [formats] if isinstance(formats, str) else list(formats)
        if incoming in options:
            return incoming
    return options[0]


def _plain(caps: Any) -> Any:
    plain = caps.copy()
    plain.set_features_simple(None)
    return plain


def _chain(pad: Any, parent: Any, buffer: Any) -> Any:
    out = parent.convert(buffer)
    if out is None:
        parent.post_error("the double converts batches to RGBA, not single frames: put it behind nvstreammux")
        return Gst.FlowReturn.NOT_NEGOTIATED
    return parent._source.push(out)


def _event(pad: Any, parent: Any, event: Any) -> bool:
    if event.type == Gst.EventType.CAPS:
        return parent.negotiate(event.parse_caps())
    if native.event_type_of(event) >= 0:
        return pad.event_default(parent, event)
    return False
