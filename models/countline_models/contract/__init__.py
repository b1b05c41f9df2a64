"""The detection contract, and how a model is checked against it.

    input   frames      UINT8 [batch, height, width, 3]   RGB, letterboxed at the top left, the rest 114
    output  detections  FP32  [batch, max_detections, 6]  x1, y1, x2, y2 in pixels of that input, score, class;
                                                          unused rows have score 0

The batch size is open. Class names and the score threshold are in the metadata of the ONNX file (`countline.labels`, a
JSON list, and `countline.score_threshold`). In a model repository they are in labels.txt and config.pbtxt.

Importing this package loads ONNX and ONNX Runtime; `countline_models.contract_model` loads neither.
"""

from countline_models.contract.answers import SCORE_TOLERANCE, Detections, Frames, run_contract
from countline_models.contract.check import check_contract, looks_like_contract, read_model
from countline_models.contract.errors import ContractError
from countline_models.contract.metadata import (
    DEFAULT_SCORE_THRESHOLD,
    FUSED_KEY,
    LABELS_KEY,
    SCORE_THRESHOLD_KEY,
    metadata_of,
    set_metadata,
)
from countline_models.contract.signature import INPUT_NAME, OUTPUT_NAME
from countline_models.contract_model import ContractModel
from countline_models.onnx.session import open_session

__all__ = [
    "DEFAULT_SCORE_THRESHOLD",
    "FUSED_KEY",
    "INPUT_NAME",
    "LABELS_KEY",
    "OUTPUT_NAME",
    "SCORE_THRESHOLD_KEY",
    "SCORE_TOLERANCE",
    "ContractError",
    "ContractModel",
    "Detections",
    "Frames",
    "check_contract",
    "looks_like_contract",
    "metadata_of",
    "open_session",
    "read_model",
    "run_contract",
    "set_metadata",
]
