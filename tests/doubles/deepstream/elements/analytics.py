"""nvdsanalytics: lines and regions by its own rules, with totals that outlive a camera on the same pad."""

from pathlib import Path

from tests.doubles.deepstream.analytics_rules import Config, FrameResult, Seen, StreamRules, load
from tests.doubles.deepstream.batches import UNTRACKED, Batch, list_of
from tests.doubles.deepstream.elements.base import NVMM, BatchFilter, always
from tests.doubles.deepstream.structs import Structure

_DESCRIPTORS = {"frame": "NVIDIA.DSANALYTICSFRAME.USER_META", "object": "NVIDIA.DSANALYTICSOBJ.USER_META"}
_SYMBOLS = {"frame": "NVDS_FRAME_META_NVDSANALYTICS", "object": "NVDS_OBJ_META_NVDSANALYTICS"}


class Analytics(BatchFilter):
    """Its overcrowding and directions are read and not played; no event of the muxer means anything to it."""

    __gstmetadata__ = ("DsAnalytics plugin", "Filter/Video", "Double of nvdsanalytics", "Countline tests")
    __gsttemplates__ = always(f"{NVMM}, format={{NV12,RGBA}}")

    def set_up(self) -> None:
        super().set_up()
        self._config: Config | None = None
        self._streams: dict[int, StreamRules] = {}

    def start(self) -> None:
        self._read()

    def property_set(self, name: str) -> None:
        """A file that is named while it runs is read at once, and every total begins anew."""
        if name == "config-file" and self._config is not None:
            self._read()

    def _read(self) -> None:
        self._config = load(Path(self.value("config-file") or ""))
        self._streams = {}

    def stop(self) -> None:
        self._config = None

    def handle(self, batch: Batch) -> None:
        if not self.value("enable"):
            return
        for frame in batch.frames:
            self._look_at(batch, frame)

    def _look_at(self, batch: Batch, frame: Structure) -> None:
        assert self._config is not None
        pad, picture = frame._values["pad_index"], batch.pictures[frame._values["batch_id"]]
        if pad not in self._streams:
            self._streams[pad] = StreamRules(self._config, pad, (picture.width, picture.height))
        rules = self._streams[pad]
        if not rules.has_rules:
            return
        objects = {each._values["object_id"]: each for each in list_of(frame, "obj_meta_list")}
        objects.pop(UNTRACKED, None)
        result = rules.frame(frame._values["buf_pts"], [_seen(each) for each in objects.values()])
        self._write_frame(batch, frame, result)
        for object_id in {*result.crossed, *result.inside}:
            self._write_object(batch, objects[object_id], result, object_id)

    def _write_frame(self, batch: Batch, frame: Structure, result: FrameResult) -> None:
        data = self.installed.pyds.make(
            "NvDsAnalyticsFrameMeta",
            batch.life,
            ocStatus={},
            objInROIcnt=dict(result.in_regions),
            objLCCurrCnt=dict(result.now),
            objLCCumCnt=dict(result.total),
            unique_id=self.value("unique-id"),
            objCnt={},
        )
        self.installed.pyds.attach_user_meta(frame, "frame_user_meta_list", self._meta_type("frame"), data)

    def _write_object(self, batch: Batch, each: Structure, result: FrameResult, object_id: int) -> None:
        crossed = result.crossed.get(object_id, [])
        data = self.installed.pyds.make(
            "NvDsAnalyticsObjInfo",
            batch.life,
            roiStatus=result.inside.get(object_id, []),
            ocStatus=[],
            lcStatus=crossed,
            dirStatus="",
            objStatus="".join(f" LC:{label} " for label in crossed),
            unique_id=self.value("unique-id"),
        )
        self.installed.pyds.attach_user_meta(each, "obj_user_meta_list", self._meta_type("object"), data)

    def _meta_type(self, what: str) -> str | int:
        """Up to 7.1 a number that is asked for by name, from 8.0 on a symbol."""
        if self.installed.facts.release == "7.1":
            return self.installed.pyds.user_meta_type(_DESCRIPTORS[what])
        return _SYMBOLS[what]


def _seen(each: Structure) -> Seen:
    box = each._values["rect_params"]._values
    foot = box.get("left", 0.0) + box.get("width", 0.0) / 2, box.get("top", 0.0) + box.get("height", 0.0)
    return Seen(each._values["object_id"], each._values.get("class_id", 0), foot)
