"""What a deployment is made of: examine a model, put it into Triton's repository, have it served, hold it to a clip.

Nothing here decides; the service of the control-plane (`countline_control.models`) calls it in order. Neither ONNX nor
ONNX Runtime is loaded into the process that calls: what looks into a model does so in a child.
"""

from countline_models.contract_model import ContractModel
from countline_models.deploy.examination import Candidate, Limits, check_interchangeable, examine
from countline_models.deploy.golden import count_golden, demo_golden
from countline_models.deploy.serving import Serving, Speed, check_speed
from countline_models.deploy.truth import CountedLine, TrueLine, Truth, golden_problem, parse_truth
from countline_models.repository.config import Backend, Target, Tuning
from countline_models.repository.folder import FoundModel, FoundVersion, ModelFolder

__all__ = [
    "Backend",
    "Candidate",
    "ContractModel",
    "CountedLine",
    "FoundModel",
    "FoundVersion",
    "Limits",
    "ModelFolder",
    "Serving",
    "Speed",
    "Target",
    "TrueLine",
    "Truth",
    "Tuning",
    "check_interchangeable",
    "check_speed",
    "count_golden",
    "demo_golden",
    "examine",
    "golden_problem",
    "parse_truth",
]
