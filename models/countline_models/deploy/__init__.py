"""The parts of a deployment: examine a model, put it into Triton's repository, have it served, count a clip with it.

The service of the control-plane (`countline_control.models`) decides and calls these parts in order. Neither ONNX nor
ONNX Runtime is loaded into the calling process: a child process looks into the model.
"""

from countline_models.contract_model import ContractModel
from countline_models.deploy.compatibility import check_interchangeable
from countline_models.deploy.examination import ExaminedModel, Limits, examine
from countline_models.deploy.golden import count_golden, demo_golden
from countline_models.deploy.serving import ServedSpeed, ServingTriton, check_speed
from countline_models.deploy.truth import ClipLine, ClipTruth, CountedLine, golden_problem
from countline_models.deploy.truth_files import parse_truth
from countline_models.repository.folder import ModelFolder
from countline_models.repository.reader import FoundModel, FoundVersion
from countline_models.repository.settings import ModelBackend, ModelTarget, Tuning

__all__ = [
    "ClipLine",
    "ClipTruth",
    "ContractModel",
    "CountedLine",
    "ExaminedModel",
    "FoundModel",
    "FoundVersion",
    "Limits",
    "ModelBackend",
    "ModelFolder",
    "ModelTarget",
    "ServedSpeed",
    "ServingTriton",
    "Tuning",
    "check_interchangeable",
    "check_speed",
    "count_golden",
    "demo_golden",
    "examine",
    "golden_problem",
    "parse_truth",
]
