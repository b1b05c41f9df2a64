"""Makes a recommended setting the one that a model runs with."""

from pathlib import Path

from countline.v1.models_pb2 import ModelTuning, TuneModelRequest
from countline_common.client import Client
from countline_common.errors import NotFoundError
from countline_models.bench.points import Setting
from countline_models.deploy import ModelFolder, Tuning


async def tune_system(client: Client, name: str, setting: Setting) -> None:
    """Have the service of models run a model so.

    Raises:
        CountlineError: the service does not know the model, or refuses.
    """
    tuning = ModelTuning(
        max_batch_size=setting.max_batch_size,
        max_queue_delay_us=setting.max_queue_delay_us,
        instances=setting.instances,
    )
    await client.models.TuneModel(TuneModelRequest(name=name, tuning=tuning))


def tune_repository(repository: Path, name: str, setting: Setting) -> Path:
    """Write a setting into a model's config.pbtxt; it holds from the next load on. Returns the file.

    Raises:
        NotFoundError: the repository has no such model.
    """
    folder = ModelFolder(repository)
    found = next((model for model in folder.found() if model.name == name), None)
    if found is None:
        raise NotFoundError(f"{repository} has no model {name!r}", cure="see which it has: ls " + str(repository))
    tuning = Tuning(setting.max_batch_size, setting.max_queue_delay_us, setting.instances)
    folder.serve(name, found.served, found.contract, tuning)
    return repository / name / "config.pbtxt"
