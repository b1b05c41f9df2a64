"""The pipeline of a model with one example source, as text: a gst-launch-1.0 command and the files that it reads."""

import asyncio
from pathlib import Path
from typing import Final

from countline_common.files.text_files import read_text
from countline_common.triton import ModelInfo, ModelRef
from countline_pipelines.planes.deepstream.config import files
from countline_pipelines.planes.deepstream.config.description import launch_line
from countline_pipelines.planes.deepstream.config.inference import info_of_pbtxt
from countline_pipelines.planes.deepstream.config.properties import PipelineOptions
from countline_pipelines.sources import Playback, SourceSpec
from countline_pipelines.triton import Transport

TRITON_TIMEOUT_S: Final = 3.0
EXAMPLE: Final = SourceSpec("rtsp://CAMERA/STREAM", Playback.LIVE)


def pipeline_text(options: PipelineOptions, info: ModelInfo, triton: str, folder: Path) -> tuple[str, dict[str, str]]:
    """The command, and the text of each file by its path.

    Args:
        options: of the pipeline.
        info: the model.
        triton: host:port of Triton.
        folder: parent of the folders with the files of pipelines.
    """
    folder = folder / f"{info.name}-{info.version}-live"
    texts = files.texts(info, triton, options)
    return launch_line(options, folder, EXAMPLE), {str(folder / name): text for name, text in texts.items()}


def model_of_config(config: Path) -> ModelInfo:
    """A model, from its config.pbtxt in a repository: its latest version there, and the labels beside it.

    Raises:
        NotFoundError: there is no such file.
        InvalidInputError: the file is no configuration of a model.
        ModelRefusedError: the model does not follow the detection contract.
    """
    text = read_text(config)
    versions = [int(path.name) for path in config.parent.iterdir() if path.name.isdecimal()]
    labels = config.with_name("labels.txt")
    names = tuple(read_text(labels).splitlines()) if labels.exists() else ()
    return info_of_pbtxt(text, max(versions, default=1), names)


def model_of_triton(model: str, triton: str) -> ModelInfo:
    """A model, as Triton describes it.

    Args:
        model: NAME or NAME@VERSION.
        triton: host:port of Triton.

    Raises:
        InferenceLostError: Triton does not answer.
    """
    return asyncio.run(_ask_triton(model, triton))


async def _ask_triton(model: str, triton: str) -> ModelInfo:
    from countline_pipelines.triton.client import TritonClient

    async with await TritonClient.connect(triton, Transport.GRPC, timeout_s=TRITON_TIMEOUT_S) as client:
        return await client.load(str(ModelRef.parse(model)))
