"""The files that a pipeline reads, written before it is made: a folder that a person can look into and try by hand."""

import os
from dataclasses import dataclass
from pathlib import Path

from countline_common.triton import ModelInfo
from countline_pipelines.planes.deepstream.config import inference, proto, tracker
from countline_pipelines.planes.deepstream.config.properties import PipelineOptions, mux_config


@dataclass(frozen=True, slots=True)
class PipelineFiles:
    """Where they lie."""

    folder: Path

    @property
    def inference(self) -> Path:
        """Of nvinferserver."""
        return self.folder / "inference.pbtxt"

    @property
    def labels(self) -> Path:
        """Beside it."""
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
    """What is in them, by name, read back once so that nothing is written that a plugin would refuse.

    Raises:
        InvalidInputError: a fault of ours.
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
    """Write them; those of an earlier pipeline in the same folder are replaced."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts(info, triton, options).items():
        _write(folder / name, text)
    return PipelineFiles(folder)


def _write(path: Path, text: str) -> None:
    """All or nothing: a plugin that reads at this moment sees the old file or the new one."""
    new = path.with_name(f"{path.name}.new")
    new.write_text(text)
    os.replace(new, path)  # noqa: PTH105
