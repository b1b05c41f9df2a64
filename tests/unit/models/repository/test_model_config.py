"""config.pbtxt, held to Triton's own message: what is asked for stands in it, and nothing else."""

import shlex
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tritonclient.grpc import model_config_pb2

from countline_common.errors import InvalidInputError
from countline_common.triton.model_config import model_info, overridden, usual_overrides
from countline_models.contract_model import ContractModel
from countline_models.deploy import ModelBackend, ModelTarget, Tuning
from countline_models.deploy.tensorrt import plan_config_text, trtexec_command
from countline_models.repository.config import config_text
from countline_models.repository.parsing import as_overrides, backend_of, parse_config, target_of, tuning_of

CONTRACT = ContractModel(384, 640, 100, ("person", "vehicle"), 0.45)


def written(*args: Any, **more: Any) -> Any:
    return parse_config(config_text("gate", CONTRACT, *args, **more), "config.pbtxt")


def test_a_plain_model_says_nothing_of_machines_or_versions() -> None:
    config = written()
    assert (config.name, config.backend, config.max_batch_size) == ("gate", "onnxruntime", 8)
    assert (list(config.input[0].dims), list(config.output[0].dims)) == ([384, 640, 3], [100, 6])
    assert config.HasField("dynamic_batching")
    assert not config.HasField("version_policy")
    assert not config.HasField("optimization")
    assert not config.instance_group
    assert set(config.parameters) == {"score_threshold"}


@pytest.mark.parametrize("versions", [[1], [3, 1, 2], []])
def test_the_versions_that_are_served_are_named(versions: list[int]) -> None:
    policy = written(versions).version_policy
    assert policy.HasField("specific")
    assert list(policy.specific.versions) == sorted(versions)


def test_tuning_is_written_where_it_is_set_and_marked() -> None:
    config = written([1], Tuning(max_batch_size=4, max_queue_delay_us=2500, instances=3))
    assert config.max_batch_size == 4
    assert config.dynamic_batching.max_queue_delay_microseconds == 2500
    assert [group.count for group in config.instance_group] == [3]
    assert config.instance_group[0].kind == model_config_pb2.ModelInstanceGroup.KIND_AUTO
    assert config.parameters["tuned"].string_value == "cpu"
    assert "tuned" not in written([1], Tuning(max_batch_size=4)).parameters


@pytest.mark.parametrize("tuning", [{"instances": 65}, {"max_batch_size": -1}, {"max_queue_delay_us": 2_000_000}])
def test_tuning_that_no_machine_can_mean_is_refused(tuning: dict[str, int]) -> None:
    with pytest.raises(InvalidInputError, match=f"{next(iter(tuning))} is .* must lie between 0 and"):
        Tuning(**tuning)


def test_an_embedded_server_gives_a_core_an_instance_unless_the_model_is_tuned() -> None:
    plain, tuned = as_overrides(written([1])), as_overrides(written([1], Tuning(instances=3)))
    assert model_info(overridden(plain, usual_overrides(plain, 2)), 1, ()).instances == 2
    assert overridden(tuned, usual_overrides(tuned, 2)) == tuned
    assert model_info(tuned, 1, ()).instances == 3
    assert plain["version_policy"] == {"specific": {"versions": ["1"]}}


def test_a_model_for_a_gpu_is_run_by_tensorrt_within_onnx_runtime() -> None:
    """Names of the parameters: README of triton-inference-server/onnxruntime_backend. Not run here."""
    config = written([1, 2], target=ModelTarget.GPU)
    (accelerator,) = config.optimization.execution_accelerators.gpu_execution_accelerator
    assert (config.backend, accelerator.name) == ("onnxruntime", "tensorrt")
    assert dict(accelerator.parameters) == {
        "precision_mode": "FP16",
        "max_workspace_size_bytes": "1073741824",
        "trt_engine_cache_enable": "1",
        "trt_engine_cache_path": "/var/cache/countline/tensorrt",
    }
    assert [(group.count, group.kind) for group in config.instance_group] == [
        (1, model_config_pb2.ModelInstanceGroup.KIND_GPU)
    ]
    assert written(target=ModelTarget.GPU, tuning=Tuning(instances=2)).instance_group[0].count == 2


def test_a_plan_is_served_by_the_backend_of_tensorrt() -> None:
    """Not run here: it needs NVIDIA's container and a GPU."""
    config = parse_config(plan_config_text("gate", CONTRACT, [1]), "config.pbtxt")
    assert (config.backend, config.max_batch_size) == ("tensorrt", 8)
    assert not config.HasField("optimization")
    assert config.instance_group[0].kind == model_config_pb2.ModelInstanceGroup.KIND_GPU


@pytest.mark.parametrize(("most", "usual"), [(8, 4), (2, 2), (1, 1)])
def test_trtexec_gets_the_shapes_that_triton_will_send(most: int, usual: int) -> None:
    program, *options = shlex.split(trtexec_command(CONTRACT, Tuning(max_batch_size=most)))
    given = dict(option.removeprefix("--").split("=") for option in options if "=" in option)
    assert program == "trtexec"
    assert (given["onnx"], given["saveEngine"]) == ("/model/1/model.onnx", "/model/1/model.plan")
    shapes = [given[f"{size}Shapes"] for size in ("min", "opt", "max")]
    assert shapes == [f"frames:{batch}x384x640x3" for batch in (1, usual, most)]


def test_what_is_no_configuration_is_named() -> None:
    with pytest.raises(InvalidInputError, match=r"gate/config\.pbtxt is not a Triton configuration") as caught:
        parse_config('name: "gate" colour: "red"', "gate/config.pbtxt")
    assert "colour" in str(caught.value)
    assert caught.value.hint


@given(
    batch_size=st.integers(0, 256),
    delay_us=st.integers(0, 1_000_000),
    instances=st.integers(0, 64),
    target=st.sampled_from(ModelTarget),
    backend=st.sampled_from(ModelBackend),
)
def test_what_was_written_is_read(
    batch_size: int, delay_us: int, instances: int, target: ModelTarget, backend: ModelBackend
) -> None:
    tuning = Tuning(batch_size, delay_us, instances)
    config = written([1], tuning, target, backend)
    assert tuning_of(config) == replace(tuning, max_batch_size=0 if batch_size == 8 else batch_size)
    assert (target_of(config), backend_of(config)) == (target, backend)


def test_what_was_written_by_hand_is_read() -> None:
    groups = "instance_group [ { count: 2 kind: KIND_GPU }, { kind: KIND_GPU } ]"
    config = parse_config(f'platform: "tensorrt_plan" max_batch_size: 16 {groups}', "config.pbtxt")
    assert tuning_of(config) == Tuning(max_batch_size=16, instances=3)
    assert (target_of(config), backend_of(config)) == (ModelTarget.GPU, ModelBackend.TENSORRT)


def test_a_backend_that_we_write_no_configuration_for_is_named() -> None:
    with pytest.raises(InvalidInputError, match="runs on python"):
        backend_of(parse_config('name: "gate" backend: "python"', "config.pbtxt"))
