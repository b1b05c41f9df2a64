"""What `countline worker --print-pipeline` prints: the pipeline of the default model with one source, and its files."""

import asyncio
from pathlib import Path
from typing import Final

from countline_common.errors import NotFoundError
from countline_common.triton import ModelInfo, ModelRef
from countline_pipelines.planes.deepstream.config import files
from countline_pipelines.planes.deepstream.config.description import launch_line
from countline_pipelines.planes.deepstream.config.inference import info_of_pbtxt
from countline_pipelines.planes.deepstream.settings import DeepStreamSettings
from countline_pipelines.sources import Playback, SourceSpec
from countline_pipelines.triton import Transport
from countline_pipelines.worker.settings import WorkerSettings

TRITON_TIMEOUT_S: Final = 3.0
EXAMPLE: Final = SourceSpec("rtsp://CAMERA/STREAM", Playback.LIVE)


def described(settings: WorkerSettings, config: Path | None) -> tuple[str, dict[str, str]]:
    """The command, and the text of each file by its path.

    Args:
        settings: of the worker.
        config: a model's config.pbtxt; None to ask Triton for the default model.

    Raises:
        NotFoundError: there is no such file.
        InferenceLostError: Triton does not answer.
    """
    options = DeepStreamSettings().checked(settings.triton_address).pipeline_options(settings.capacity)
    info = _model_of(config) if config is not None else asyncio.run(_ask_triton(settings))
    folder = settings.pipelines_folder / f"{info.name}-{info.version}-live"
    texts = files.texts(info, settings.triton_address, options)
    command = launch_line(options, folder, EXAMPLE)
    return command, {str(folder / name): text for name, text in texts.items()}


def _model_of(config: Path) -> ModelInfo:
    try:
        text = config.read_text()
    except OSError as error:
        raise NotFoundError(f"{config}: {error.strerror}", hint="name the config.pbtxt of a model") from error
    versions = [int(path.name) for path in config.parent.iterdir() if path.name.isdecimal()]
    labels = config.with_name("labels.txt")
    names = tuple(labels.read_text().splitlines()) if labels.exists() else ()
    return info_of_pbtxt(text, max(versions, default=1), names)


async def _ask_triton(settings: WorkerSettings) -> ModelInfo:
    from countline_pipelines.triton.client import TritonClient

    ref = ModelRef.parse(settings.default_model)
    async with await TritonClient.connect(
        settings.triton_address, Transport.GRPC, timeout_s=TRITON_TIMEOUT_S
    ) as client:
        return await client.load(str(ref))
