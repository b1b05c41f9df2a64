"""Checks a fused model by running it."""

import numpy as np
import onnxruntime as ort

from countline_common.errors import InvalidInputError
from countline_models.contract import SCORE_TOLERANCE, ContractError, check_contract, open_session, run_contract
from countline_models.onnx.network import Network
from countline_models.onnx.session import first_line


def verify(data: bytes, source: Network) -> None:
    """Run a fused model on batches of one and three, and check it against the contract.

    Raises:
        InvalidInputError: it fails; the message names the cause in the network if it is known.
    """
    height, width = source.size_hw
    other_batches = "export it with a dynamic batch axis"
    problem, hint = "cannot be run", "export it again with standard operators only"
    if source.size_hw != source.exported_hw:
        problem, hint = f"cannot be run at {width}x{height}", "leave --size away, or export it at that size"
    try:
        session = open_session(data)
    except Exception as error:
        raise _unusable(problem, error, hint) from error
    _try_batch(session, source, 1, problem, hint)
    _try_batch(session, source, 3, "keeps the batch size that it was exported with", other_batches)
    try:
        check_contract(data, "the fused model")
    except ContractError as error:
        hint = f"look at --head, --boxes and --scores; or {other_batches}"
        raise InvalidInputError(str(error), hint=hint) from error


def _try_batch(session: ort.InferenceSession, source: Network, batch: int, problem: str, hint: str) -> None:
    frames = np.random.default_rng(1).integers(0, 256, (batch, *source.size_hw, 3), np.uint8)
    try:
        once, again = run_contract(session, frames), run_contract(session, frames)
    except Exception as error:
        raise _unusable(problem, error, hint) from error
    if once.shape[0] != batch:
        raise InvalidInputError(f"the network {problem}: {batch} frames give {once.shape[0]} answers", hint=hint)
    if once[..., 4].max(initial=0.0) > 1.0 + SCORE_TOLERANCE:
        raise InvalidInputError(
            f"the network's scores reach {once[..., 4].max():.4g}, so they are not probabilities",
            hint="use --scores logits",
        )
    if not np.array_equal(once, again, equal_nan=True):
        raise InvalidInputError(
            "the network answers the same frames differently a second time",
            hint="export it in evaluation mode, without random operators",
        )


def _unusable(problem: str, error: Exception, hint: str) -> InvalidInputError:
    return InvalidInputError(f"the network {problem}: {first_line(error)}", hint=hint)
