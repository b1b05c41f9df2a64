"""Applies a recommended setting to a model."""

from pathlib import Path
from typing import Final

from countline.v1.models_pb2 import ModelTuning, TuneModelRequest
from countline_common.errors import InvalidInputError
from countline_common.grpc.client import Client
from countline_models.bench.points import Setting
from countline_models.repository.folder import ModelFolder
from countline_models.repository.names import CONFIG_FILE
from countline_models.repository.settings import ModelBackend, Tuning

LOAD_TIMEOUT_S: Final = 240.0
"""For the service and for Triton, which loads the model with the new setting."""


async def tune_system(client: Client, name: str, setting: Setting) -> None:
    """Apply a setting through the model service.

    Raises:
        CountlineError: the service has no such model, or refuses.
    """
    tuning = ModelTuning(
        max_batch_size=setting.max_batch_size,
        max_queue_delay_us=setting.max_queue_delay_us,
        instances=setting.instances,
    )
    await client.models.TuneModel(TuneModelRequest(name=name, tuning=tuning), timeout=LOAD_TIMEOUT_S)


def tune_repository(repository: Path, name: str, setting: Setting) -> Path:
    """Write a setting into a model's config.pbtxt; it applies from the next load on. Returns the file.

    Raises:
        NotFoundError: the repository has no such model.
        InvalidInputError: the model has another backend, or the setting is out of range.
    """
    folder = ModelFolder(repository)
    config = folder.config(name)
    if config.backend != ModelBackend.ONNXRUNTIME:
        raise InvalidInputError(
            f"{name!r} runs on the backend {config.backend!r}, and Countline writes config.pbtxt only for onnxruntime",
            hint="edit max_batch_size, instance_group and dynamic_batching in it by hand",
        )
    found = folder.find(name)
    tuning = Tuning(setting.max_batch_size, setting.max_queue_delay_us, setting.instances)
    folder.serve(name, found.served, found.contract, tuning, found.target, thresholds=found.thresholds)
    return repository / name / CONFIG_FILE
