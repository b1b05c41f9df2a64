"""The double of pyds by itself: names, types, lists, and the end of metadata with its buffer."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from tests.doubles.deepstream.batches import Batch, Batches, Picture, list_of
from tests.doubles.deepstream.facts import Facts
from tests.doubles.deepstream.ledger import Ledger
from tests.doubles.deepstream.pyds_module import NotInDoubleError, Pyds
from tests.doubles.deepstream.structs import PyCapsule, UseAfterReleaseError, WrongCastError

ADDRESS = 4096


@dataclass
class Bindings:
    """The module, and one batch of two frames, the first with two objects."""

    pyds: Any
    ledger: Ledger
    batches: Batches
    batch: Batch
    built: Pyds

    def frame(self) -> Any:
        meta = self.pyds.gst_buffer_get_nvds_batch_meta(ADDRESS)
        return self.pyds.NvDsFrameMeta.cast(meta.frame_meta_list.data)

    def first_object(self) -> Any:
        return self.pyds.NvDsObjectMeta.cast(self.frame().obj_meta_list.data)

    def release(self) -> None:
        self.batches.release(ADDRESS)


def bindings(release: str = "7.1", *, lists_stop: bool = False) -> Bindings:
    ledger = Ledger()
    batches = Batches(ledger, lists_stop=lists_stop)
    built = Pyds(Facts(release), batches, lambda *_: None)
    life = batches.new_life()
    meta = built.make("NvDsBatchMeta", life, num_frames_in_batch=2)
    meta._values["base_meta"] = built.base_meta(meta, "NVDS_BATCH_META")
    for index in range(2):
        list_of(meta, "frame_meta_list").append(built.make("NvDsFrameMeta", life, pad_index=index, frame_num=7))
    picture = Picture(np.zeros((6, 4), np.uint8), "NV12", 4, 4)
    batch = Batch(life, meta, [picture, picture])
    for score in (0.9, 0.5):
        built.add_object(batch.frames[0], box=(1, 2, 3, 4), class_id=1, confidence=score, obj_label="person")
    batches.put(ADDRESS, batch)
    return Bindings(built.module, ledger, batches, batch, built)


@pytest.fixture
def bound() -> Bindings:
    return bindings()


def walk(node: Any) -> list[Any]:
    found = []
    while node is not None:
        found.append(node.data)
        node = node.next
    return found


def test_frames_and_objects_are_found_by_lists_and_casts(bound):
    meta = bound.pyds.gst_buffer_get_nvds_batch_meta(ADDRESS)
    frames = [bound.pyds.NvDsFrameMeta.cast(data) for data in walk(meta.frame_meta_list)]
    assert [(frame.pad_index, frame.num_obj_meta) for frame in frames] == [(0, 2), (1, 0)]
    objects = [bound.pyds.NvDsObjectMeta.cast(data) for data in walk(frames[0].obj_meta_list)]
    assert [one.obj_label for one in objects] == ["person", "person"]
    assert objects[0].object_id == 2**64 - 1
    assert frames[1].obj_meta_list is None


def test_a_buffer_without_metadata_gives_none(bound):
    assert bound.pyds.gst_buffer_get_nvds_batch_meta(ADDRESS + 1) is None


def test_numbers_are_those_of_c(bound):
    one = bound.first_object()
    assert one.confidence != 0.9
    assert one.confidence == np.float32(0.9)
    one.rect_params.left = 0.1
    assert one.rect_params.left == np.float32(0.1)


def test_lists_may_end_by_an_exception():
    bound = bindings(lists_stop=True)
    node = bound.frame().obj_meta_list.next
    with pytest.raises(StopIteration):
        _ = node.next


@pytest.mark.parametrize(
    ("use", "error"),
    [
        (lambda b: b.pyds.UNTRACKED_OBJECT_ID, AttributeError),
        (lambda b: b.pyds.NvDsPastFrameObjBatch, AttributeError),
        (lambda b: b.frame().pipeline_width, AttributeError),
        (lambda b: b.first_object().score, AttributeError),
        (lambda b: setattr(b.first_object(), "score", 1.0), AttributeError),
        (lambda b: b.pyds.NvDsMetaType.NVDS_FRAME_META_NVDSANALYTICS, AttributeError),
        (lambda b: setattr(b.first_object(), "class_id", 1.5), TypeError),
        (lambda b: setattr(b.first_object(), "class_id", np.float32(1)), TypeError),
        (lambda b: setattr(b.first_object(), "object_id", -1), TypeError),
        (lambda b: setattr(b.first_object(), "object_id", 2**64), TypeError),
        (lambda b: setattr(b.first_object(), "confidence", "high"), TypeError),
        (lambda b: setattr(b.first_object(), "obj_label", b"person"), TypeError),
        (lambda b: setattr(b.first_object(), "obj_label", "x" * 128), ValueError),
        (lambda b: setattr(b.first_object(), "rect_params", (1, 2, 3, 4)), TypeError),
        (lambda b: b.pyds.gst_buffer_get_nvds_batch_meta("buffer"), TypeError),
        (lambda b: b.pyds.NvDsObjectMeta.cast(b.frame()), WrongCastError),
        (lambda b: b.pyds.NvDsObjectMeta.cast(PyCapsule(b.batch.life, b.frame())), WrongCastError),
        (lambda b: b.pyds.nvds_obj_enc_create_context(0), NotInDoubleError),
        (lambda b: b.pyds.get_nvds_buf_surface(ADDRESS, 0), RuntimeError),
        (lambda b: b.pyds.nvds_add_obj_meta_to_frame(b.frame(), b.first_object(), None), RuntimeError),
        (lambda b: b.pyds.nvds_add_obj_meta_to_frame(b.frame(), b.pyds.NvDsObjectMeta(), None), RuntimeError),
        (lambda b: b.pyds.nvds_acquire_obj_meta_from_pool(b.frame()), TypeError),
        (lambda b: b.pyds.nvds_release_meta_lock(b.batch.meta), RuntimeError),
    ],
)
def test_a_wrong_use_raises(bound, use, error):
    with pytest.raises(error):
        use(bound)


@pytest.mark.parametrize(
    "use",
    [
        lambda kept: kept["frame"].pad_index,
        lambda kept: kept["object"].rect_params,
        lambda kept: setattr(kept["object"], "class_id", 2),
        lambda kept: kept["box"].left,
        lambda kept: kept["node"].data,
        lambda kept: kept["node"].next,
    ],
)
def test_metadata_ends_with_its_buffer(bound, use):
    frame, one = bound.frame(), bound.first_object()
    kept = {"frame": frame, "object": one, "box": one.rect_params, "node": frame.obj_meta_list}
    bound.release()
    with pytest.raises(UseAfterReleaseError):
        use(kept)
    assert bound.pyds.gst_buffer_get_nvds_batch_meta(ADDRESS) is None


def test_tensor_memory_reads_as_nan_after_its_buffer(bound):
    tensor = np.ones(4, np.float32)
    bound.batch.tensors.append(tensor)
    bound.release()
    assert np.isnan(tensor).all()


def test_objects_are_added_from_the_pool_once(bound):
    frame, meta = bound.frame(), bound.batch.meta
    one = bound.pyds.nvds_acquire_obj_meta_from_pool(meta)
    one.class_id, one.confidence, one.obj_label = 2, 0.75, "vehicle"
    bound.pyds.nvds_add_obj_meta_to_frame(frame, one, None)
    assert frame.num_obj_meta == 3
    with pytest.raises(RuntimeError, match="added before"):
        bound.pyds.nvds_add_obj_meta_to_frame(frame, one, None)
    bound.release()
    assert not bound.ledger.complaints


def test_a_structure_that_was_acquired_for_nothing_is_reported(bound):
    bound.pyds.nvds_acquire_obj_meta_from_pool(bound.batch.meta)
    bound.release()
    assert "added nowhere" in bound.ledger.take_complaints()[0]


def test_a_lock_that_was_kept_is_reported(bound):
    bound.pyds.nvds_acquire_meta_lock(bound.batch.meta)
    bound.release()
    assert "nvds_release_meta_lock" in bound.ledger.take_complaints()[0]


def test_a_node_that_was_removed_leads_nowhere(bound):
    frame, one = bound.frame(), bound.first_object()
    node = frame.obj_meta_list
    bound.pyds.nvds_remove_obj_meta_from_frame(frame, one)
    assert frame.num_obj_meta == 1
    with pytest.raises(UseAfterReleaseError, match="removed"):
        _ = node.next


def test_user_meta_types_have_symbols_from_8_0_on_and_numbers_before():
    old, new = bindings("7.1"), bindings("8.0")
    assert not hasattr(old.pyds.NvDsMetaType, "NVDS_FRAME_META_NVDSANALYTICS")
    assert new.pyds.NvDsMetaType.NVDS_FRAME_META_NVDSANALYTICS in new.pyds.NvDsMetaType
    name = "NVIDIA.DSANALYTICSFRAME.USER_META"
    assert old.pyds.nvds_get_user_meta_type(name) == old.pyds.nvds_get_user_meta_type(name)
    assert old.pyds.nvds_get_user_meta_type(name) != old.pyds.nvds_get_user_meta_type("another")


def test_numbers_of_meta_types_differ_between_releases():
    name = "NVDSINFER_TENSOR_OUTPUT_META"
    old, new = (int(getattr(bindings(release).pyds.NvDsMetaType, name)) for release in ("7.1", "8.0"))
    assert old != new


def test_calls_are_counted(bound):
    before = bound.ledger.pyds_call_count
    one = bound.first_object()
    _ = one.class_id, one.confidence
    assert bound.ledger.pyds_calls["NvDsObjectMeta.class_id"] == 1
    # batch meta, its list, data, cast, the frame's list, data, cast, two attributes
    assert bound.ledger.pyds_call_count - before == 9
