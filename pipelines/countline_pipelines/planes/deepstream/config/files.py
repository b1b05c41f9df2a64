"""The configuration files of a pipeline, in a folder of its own, where a person can inspect them."""

import os
from dataclasses import dataclass
from pathlib import Path

from countline_common.triton import ModelInfo
from countline_pipelines.planes.deepstream.config import inference, proto, tracker
from countline_pipelines.planes.deepstream.config.properties import PipelineOptions, mux_config


@dataclass(frozen=True, slots=True)
class PipelineFiles:
    """Paths of the files."""

    folder: Path

    @property
    def inference(self) -> Path:
        """Of nvinferserver."""
        return self.folder / "inference.pbtxt"

    @property
    def labels(self) -> Path:
        """Class names, beside the file of nvinferserver."""
        return self.folder / inference.LABELS

    @property
    def tracker(self) -> Path:
        """Of nvtracker."""
        return self.folder / "tracker.yml"

    @property
    def mux(self) -> Path:
        """Of nvstreammux."""
        return self.folder / "mux.txt"


def texts(info: ModelInfo, triton: str, options: PipelineOptions) -> dict[str, str]:
    """The text of each file by its name, parsed once so that no file is written that a plugin would refuse.

    Args:
        info: the model.
        triton: host:port of Triton.
        options: of the pipeline.

    Raises:
        InvalidInputError: a plugin would refuse a file; a bug in Countline.
    """
    files = PipelineFiles(Path())
    inference_text = inference.infer_config(info, triton, options)
    tracker_text = tracker.tracker_config(options.tracker, info.score_threshold, options.frame_rate)
    proto.read(inference_text)
    tracker.read(tracker_text)
    return {
        files.inference.name: inference_text,
        files.labels.name: inference.label_file(info),
        files.tracker.name: tracker_text,
        files.mux.name: mux_config(options),
    }


def write_files(folder: Path, info: ModelInfo, triton: str, options: PipelineOptions) -> PipelineFiles:
    """Write the files (see `texts`) into `folder`; files of an earlier pipeline there are replaced."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts(info, triton, options).items():
        _write(folder / name, text)
    return PipelineFiles(folder)


def _write(path: Path, text: str) -> None:
    """Replace a file at once: a plugin that reads it meanwhile sees the old text or the new one."""
    new = path.with_name(f"{path.name}.new")
    new.write_text(text)
    os.replace(new, path)  # noqa: PTH105
