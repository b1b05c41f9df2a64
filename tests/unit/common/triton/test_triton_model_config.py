"""Between Triton's model configuration and ours."""

import copy
from typing import Any

import pytest

from countline_common.triton.model_config import instance_count, labels_of, model_info, overridden
from countline_common.triton.models import ModelOverrides, ModelRefusedError

CONFIG: dict[str, Any] = {
    "name": "net",
    "backend": "onnxruntime",
    "max_batch_size": 8,
    "input": [{"name": "frames", "data_type": "TYPE_UINT8", "dims": ["416", "640", "3"]}],
    "output": [{"name": "detections", "data_type": "TYPE_FP32", "dims": ["100", "6"], "label_filename": "labels.txt"}],
    "dynamic_batching": {"preferred_batch_size": [8]},
    "instance_group": [{"name": "net", "kind": "KIND_CPU", "count": 2}],
    "parameters": {"score_threshold": {"string_value": "0.40"}},
}


def changed(**fields: Any) -> dict[str, Any]:
    return {**copy.deepcopy(CONFIG), **fields}


def test_a_version_may_have_a_threshold_of_its_own() -> None:
    parameters = {**CONFIG["parameters"], "score_threshold.2": {"string_value": "0.7"}}
    thresholds = [model_info(changed(parameters=parameters), version, ()).score_threshold for version in (1, 2)]
    assert thresholds == [0.4, 0.7]


def test_a_configuration_tells_what_the_data_plane_needs() -> None:
    info = model_info(CONFIG, 3, ("person",))
    assert (info.name, info.version, info.height, info.width, info.max_detections) == ("net", 3, 416, 640, 100)
    assert (info.score_threshold, info.max_batch_size, info.instances, info.labels) == (0.4, 8, 2, ("person",))


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"input": []}, "one input 'frames', and has: none"),
        ({"input": [{"name": "images", "data_type": "TYPE_UINT8", "dims": ["1"]}]}, "and has: images"),
        ({"input": [{"name": "frames", "data_type": "TYPE_FP32", "dims": ["3"]}]}, "must be TYPE_UINT8"),
        ({"input": [{"name": "frames", "data_type": "TYPE_UINT8", "dims": ["3", "4"]}]}, "must have 3 axes"),
        ({"input": [{"name": "frames", "data_type": "TYPE_UINT8", "dims": ["3", "416", "416"]}]}, "and has frames"),
        ({"input": [{"name": "frames", "data_type": "TYPE_UINT8", "dims": ["-1", "-1", "3"]}]}, "and has frames"),
        ({"output": [{"name": "detections", "data_type": "TYPE_FP32", "dims": ["100", "5"]}]}, "and has frames"),
        ({"max_batch_size": 0}, "takes no batches"),
        ({"parameters": {"score_threshold": {"string_value": "high"}}}, "no number: 'high'"),
    ],
)
def test_a_configuration_that_breaks_the_contract_is_refused_by_name(fields: dict[str, Any], problem: str) -> None:
    with pytest.raises(ModelRefusedError, match=problem) as caught:
        model_info(changed(**fields), 1, ())
    assert "'net'" in str(caught.value)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("groups", "count"),
    [
        ([], 1),
        ([{"kind": "KIND_CPU", "count": 2}], 2),
        ([{"kind": "KIND_GPU", "count": 2, "gpus": [0, 1]}], 4),
        ([{"kind": "KIND_AUTO"}, {"kind": "KIND_CPU", "count": 3}], 4),
    ],
)
def test_instances_are_counted_over_groups_and_gpus(groups: list[dict[str, Any]], count: int) -> None:
    assert instance_count(changed(instance_group=groups)) == count


def test_no_overrides_change_nothing() -> None:
    assert overridden(CONFIG, ModelOverrides()) == CONFIG
    assert overridden(CONFIG, ModelOverrides(instances=2)) == CONFIG, "what is so already is no reason to load again"


def test_overrides_change_what_they_name_and_leave_the_original_alone() -> None:
    before = copy.deepcopy(CONFIG)
    after = overridden(
        CONFIG, ModelOverrides(instances=4, intra_op_threads=1, max_batch_size=2, max_queue_delay_us=500)
    )
    assert after["instance_group"] == [{"count": 4, "kind": "KIND_CPU"}]
    assert after["parameters"]["intra_op_thread_count"] == {"string_value": "1"}
    assert after["parameters"]["score_threshold"] == {"string_value": "0.40"}
    assert after["max_batch_size"] == 2
    assert after["dynamic_batching"] == {"max_queue_delay_microseconds": "500"}
    assert before == CONFIG


@pytest.mark.parametrize(
    ("entries", "labels"),
    [
        ([], ()),
        ([b"0.000000:0"], ()),
        ([b"9.5:2:a:b", b"1.0:0:person", b"0.5:1:car", b"0.1:3"], ("person", "car", "a:b")),
    ],
)
def test_labels_are_read_from_classifications_in_any_order(entries: list[bytes], labels: tuple[str, ...]) -> None:
    assert labels_of(entries) == labels
