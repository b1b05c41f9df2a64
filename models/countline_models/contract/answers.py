"""Runs a contract model on the CPU and checks what it answers."""

from typing import Final

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from countline_models.contract.errors import FUSE_HINT, ContractError
from countline_models.contract.signature import INPUT_NAME, OUTPUT_NAME
from countline_models.contract_model import ContractModel
from countline_models.noise import noise_frames
from countline_models.onnx.session import first_line, open_session

SCORE_TOLERANCE: Final = 1e-3
SAME: Final = 1e-3
"""Detections that differ by less are the same: arithmetic in another order rounds differently."""
FARTHEST: Final = 10.0
"""Largest distance of a box from the input, in sizes of the input. Noise makes strange boxes, but none beyond this."""

Frames = NDArray[np.uint8]
Detections = NDArray[np.float32]


def run_contract(session: ort.InferenceSession, frames: Frames) -> Detections:
    """Run a contract model on frames (n, height, width, 3); returns (n, max_detections, 6)."""
    detections: Detections = session.run([OUTPUT_NAME], {INPUT_NAME: frames})[0]
    return detections


def check_answers(model: bytes, contract: ContractModel, shown: str) -> None:
    """Run a model on one frame and on three, and check what it answers.

    Args:
        model: the ONNX file's bytes.
        contract: what the model declares.
        shown: name of the model in errors.

    Raises:
        ContractError: ONNX Runtime cannot run it, or its answers break the contract.
    """
    frames = noise_frames(contract.height, contract.width)
    try:
        session = open_session(model)
        together, alone = run_contract(session, frames), [run_contract(session, frame[None]) for frame in frames[::2]]
        again = run_contract(session, frames[:1])
    except Exception as error:
        hint = f"export the network with standard operators and a dynamic batch axis, and {FUSE_HINT}"
        raise ContractError(shown, f"ONNX Runtime cannot run it: {first_line(error)}", hint) from error
    for batch, detections in ((1, alone[0]), (3, together)):
        if detections.shape != (batch, contract.max_detections, 6):
            raise ContractError(shown, f"a batch of {batch} gives {list(detections.shape)}")
    if not np.array_equal(alone[0], again, equal_nan=True):
        raise ContractError(
            shown,
            "it answers the same frame differently a second time",
            f"export the network in evaluation mode, without random operators, and {FUSE_HINT}",
        )
    _check_values(together, contract, shown)
    if not np.allclose(np.concatenate(alone), together[::2], atol=SAME):
        raise ContractError(
            shown,
            "a frame gets other detections in a batch than alone",
            f"export the network in evaluation mode and with a dynamic batch axis, and {FUSE_HINT}",
        )


def _check_values(detections: Detections, contract: ContractModel, shown: str) -> None:
    """Check that the values (n, max_detections, 6) can be boxes, scores and classes."""
    if not np.isfinite(detections).all():
        raise ContractError(
            shown, "it answers numbers that are not finite", f"look for a division by zero, or float16, and {FUSE_HINT}"
        )
    scores = detections[..., 4]
    if scores.min(initial=0.0) < -SCORE_TOLERANCE or scores.max(initial=0.0) > 1.0 + SCORE_TOLERANCE:
        found = f"its scores reach from {scores.min():.4g} to {scores.max():.4g}, and must lie within 0 and 1"
        raise ContractError(shown, found, f"{FUSE_HINT} --scores logits")
    used = detections[scores > 0.0]
    size = np.array([contract.width, contract.height] * 2)
    if np.any((used[:, :4] < -FARTHEST * size) | (used[:, :4] > (1.0 + FARTHEST) * size)):
        found = (
            f"its boxes reach {np.abs(used[:, :4]).max():.4g} pixels, in frames of {contract.width}x{contract.height}"
        )
        raise ContractError(shown, found, f"answer corners in pixels of the input, or {FUSE_HINT} --boxes pixels")
    _check_classes(used[:, 5], contract.labels, shown)


def _check_classes(classes: NDArray[np.float32], labels: tuple[str, ...], shown: str) -> None:
    if np.any(classes != np.round(classes)) or classes.min(initial=0.0) < 0.0:
        strange = next(value for value in classes.tolist() if value != round(value) or value < 0)
        raise ContractError(shown, f"it answers the class {strange:g}, and classes are whole numbers from 0")
    if labels and classes.max(initial=0.0) >= len(labels):
        raise ContractError(
            shown,
            f"it answers class {int(classes.max())}, and there are {len(labels)} labels: {', '.join(labels[:10])}",
            "give a label for every class, in the model's order: --labels FILE",
        )
