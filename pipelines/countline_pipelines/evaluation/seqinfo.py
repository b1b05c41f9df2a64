"""`seqinfo.ini`: MOTChallenge's file with size, rate and length of a sequence."""

import configparser
from pathlib import Path

from countline_common.errors import InvalidInputError
from countline_common.files.text_files import read_text
from countline_pipelines.evaluation.run import SequenceInfo


def find_seqinfo(truth: Path) -> Path | None:
    """Return the file that belongs to a file of ground truth: beside it, or beside its folder `gt`."""
    for folder in (truth.parent, truth.parent.parent):
        if (folder / "seqinfo.ini").is_file():
            return folder / "seqinfo.ini"
    return None


def read_seqinfo(path: Path) -> SequenceInfo:
    """Read the file.

    Raises:
        InvalidInputError: the file is no UTF-8 text, or a field is missing or is no number.
    """
    text, parser = read_text(path), configparser.ConfigParser()
    try:
        parser.read_string(text, str(path))
        section = parser["Sequence"]
        size_wh = section.getint("imWidth", 0), section.getint("imHeight", 0)
        fps, frames = section.getfloat("frameRate", 0.0), section.getint("seqLength", 0)
    except (configparser.Error, KeyError, ValueError) as error:
        raise InvalidInputError(f"{path}: {error}", hint="give --size, --fps and --frames instead") from error
    if min(*size_wh, fps, frames) <= 0:
        raise InvalidInputError(
            f"{path}: imWidth, imHeight, frameRate or seqLength is missing",
            hint="give --size, --fps and --frames instead",
        )
    return SequenceInfo(size_wh, fps, frames)
