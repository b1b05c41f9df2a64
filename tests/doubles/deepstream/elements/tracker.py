"""nvtracker with its YAML file."""

from pathlib import Path
from typing import Any

from tests.doubles.deepstream.batches import UNTRACKED, Batch, list_of
from tests.doubles.deepstream.elements.base import NVMM, BatchFilter, always
from tests.doubles.deepstream.facts import tables
from tests.doubles.deepstream.structs import Structure
from tests.doubles.deepstream.tracker_config import TrackerConfigError, read_config
from tests.doubles.deepstream.tracking import Report, Settings, Stream, Target

_LIBRARY = "libnvds_nvmultiobjecttracker.so"
_NEW_IDS_AFTER_RESET, _IDS_FROM_ZERO_AFTER_EOS = 1, 2


class Tracker(BatchFilter):
    """Assigns ids, delays new objects, and removes objects that it does not track."""

    __gstmetadata__ = ("NvTracker plugin", "Video", "Double of nvtracker", "Countline tests")
    __gsttemplates__ = always(f"{NVMM}, format={{I420,NV12,RGBA}}")

    def set_up(self) -> None:
        super().set_up()
        self._batch_size = 0
        self._streams: dict[int, Stream] = {}

    def start(self) -> None:
        library = self.value("ll-lib-file")
        if not library:
            raise TrackerConfigError("ll-lib-file is not set")
        if Path(library).name != _LIBRARY:
            raise TrackerConfigError(f"failed to open the low-level library {library}: it is called {_LIBRARY}")
        if not self.value("ll-config-file"):
            raise TrackerConfigError("ll-config-file is not set")
        sections = read_config(Path(self.value("ll-config-file").split(";")[0]))
        self._check_size(sections)
        self._settings = Settings.of(sections)
        self._streams.clear()

    def _check_size(self, sections: dict[str, dict[str, Any]]) -> None:
        visual = sections.get("VisualTracker", {}).get("visualTrackerType", 0) > 0
        size = self.value("tracker-width"), self.value("tracker-height")
        if (visual or sections.get("ReID")) and any(side % 32 for side in size):
            raise TrackerConfigError(
                f"tracker-width and tracker-height must be multiples of 32, not {size[0]}x{size[1]}"
            )

    def stop(self) -> None:
        self._streams.clear()

    def do_set_caps(self, incoming: Any, _outgoing: Any) -> bool:
        """Remember the negotiated batch size."""
        found, size = incoming.get_structure(0).get_int("batch-size")
        self._batch_size = size if found else 0
        return True

    def event_seen(self, event_type: int, event: Any) -> None:
        events = tables()["events"]
        if event_type not in events.values():
            return
        _found, source = event.get_structure().get_int("source-id")
        mode = self.value("tracking-id-reset-mode")
        if event_type == events["GST_NVEVENT_PAD_DELETED"]:
            self._streams.pop(source, None)
        elif event_type == events["GST_NVEVENT_STREAM_RESET"] and mode & _NEW_IDS_AFTER_RESET:
            self._reset(source, ids=False)
        elif event_type == events["GST_NVEVENT_STREAM_EOS"] and mode & _IDS_FROM_ZERO_AFTER_EOS:
            self._reset(source, ids=True)

    def _reset(self, source: int, *, ids: bool) -> None:
        if source in self._streams:
            self._streams[source].reset(ids=ids)

    def handle(self, batch: Batch) -> None:
        """Track frame after frame; a source may have several in one batch."""
        frames = batch.frames
        if len(frames) > self._batch_size:
            raise TrackerConfigError(f"a batch of {len(frames)} frames where {self._batch_size} were negotiated")
        with batch.lock:
            for frame in frames:
                self._track(batch, frame)

    def _track(self, batch: Batch, frame: Structure) -> None:
        objects = [each for each in list_of(frame, "obj_meta_list") if self._is_tracked(each)]
        # bInferDone states whether detection ran on the frame. `other {}` leaves it unset, so the
        # program that adds objects must set it, or nothing is tracked.
        seen = objects if frame._values.get("bInferDone") else []
        source = frame._values["pad_index"]
        stream = self._streams.setdefault(source, Stream(self._settings, seed=source))
        reports = stream.update(
            frame._values["frame_num"],
            [_box(each) for each in seen],
            [each._values.get("class_id", 0) for each in seen],
            [each._values.get("confidence", 0.0) for each in seen],
        )
        self._write(batch, frame, seen, reports)

    def _is_tracked(self, each: Structure) -> bool:
        classes = self.value("operate-on-class-ids") if "operate-on-class-ids" in self.FACTS else ""
        return not classes or str(each._values.get("class_id", 0)) in classes.split(";")

    def _write(self, batch: Batch, frame: Structure, seen: list[Structure], reports: list[Report]) -> None:
        objects = list_of(frame, "obj_meta_list")
        followed = {report.detection for report in reports}
        for index, each in enumerate(seen):
            if index not in followed:
                objects.remove(each)
        for report in reports:
            each = self._alone(frame, report) if report.detection is None else seen[report.detection]
            self._mark(each, report)
        frame._values["num_obj_meta"] = len(objects)
        self._add_past(batch, frame, [report.target for report in reports if report.target.past])

    def _alone(self, frame: Structure, report: Report) -> Structure:
        """Add an object that the tracker predicted and the detector did not see."""
        target = report.target
        return self.installed.pyds.add_object(
            frame, box=target.box, class_id=target.class_id, confidence=-0.1, obj_label="", unique_component_id=0
        )

    def _mark(self, each: Structure, report: Report) -> None:
        values = each._values
        values["object_id"] = report.target.object_id
        values["tracker_confidence"] = report.confidence
        values["tracker_bbox_info"] = self.installed.pyds.bbox_info(each._life, report.target.box)
        assert values["object_id"] != UNTRACKED

    def _add_past(self, batch: Batch, frame: Structure, targets: list[Target]) -> None:
        """Attach the positions of targets during their probation, once, when it is over."""
        if not targets:
            return
        make, life = self.installed.pyds.make, batch.life
        entries = [self._past_object(batch, target) for target in targets]
        stream = make(
            "NvDsTargetMiscDataStream",
            life,
            streamID=frame._values["pad_index"],
            surfaceStreamID=frame._values["pad_index"],
            numAllocated=len(entries),
            numFilled=len(entries),
            entries=entries,
        )
        data = make("NvDsTargetMiscDataBatch", life, numAllocated=1, numFilled=1, entries=[stream])
        self.installed.pyds.attach_user_meta(batch.meta, "batch_user_meta_list", "NVDS_TRACKER_PAST_FRAME_META", data)

    def _past_object(self, batch: Batch, target: Target) -> Structure:
        make, life = self.installed.pyds.make, batch.life
        frames = [
            make(
                "NvDsTargetMiscDataFrame",
                life,
                frameNum=frame_num,
                tBbox=self.installed.pyds.rectangle(life, box),
                confidence=score,
                age=age,
            )
            for frame_num, box, score, age in target.past
        ]
        target.past = []
        return make(
            "NvDsTargetMiscDataObject",
            life,
            numObj=len(frames),
            uniqueId=target.object_id,
            classId=target.class_id,
            objLabel="",
            entries=frames,
        )


def _box(each: Structure) -> tuple[float, float, float, float]:
    sides = each._values["rect_params"]._values
    return sides.get("left", 0.0), sides.get("top", 0.0), sides.get("width", 0.0), sides.get("height", 0.0)
