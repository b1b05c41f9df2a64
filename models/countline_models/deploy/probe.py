"""Looks into a model, in a process of its own: `python -m countline_models.deploy.probe`.

What it shall do stands in standard input, what it found in standard output, both JSON:

    {"file", "labels": [...] or null, "memory_bytes", "timeout_s", "answers": path or null}
    {"contract": {...}, "fused": "..."}   or   {"error": {"code", "message", "hint"}}

With `answers`, what the model answers to the test frames is written there (.npy) and nothing is checked. A graph may
ask for any amount of memory and time, or bring ONNX Runtime down; so limits are set before the file is opened, and who
started this process draws conclusions from how it ends.
"""

import json
import resource
import signal
import sys
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from countline_common.errors import CountlineError, InvalidInputError

MEMORY_HINT: Final = "export a smaller network, or look for a tensor that grows out of all bounds"
MEMORY_WORDS: Final = ("bad alloc", "bad_alloc", "failed to allocate", "cannot allocate", "out of memory")


def main() -> None:
    """Do what standard input says."""
    import countline_models.contract  # noqa: F401  (takes seconds on a busy machine, which is no fault of the model's)

    order: dict[str, Any] = json.load(sys.stdin)
    _limit(int(order["memory_bytes"]), float(order["timeout_s"]))
    try:
        found = _write_answers(order) if order["answers"] else _examine(order)
    except MemoryError:
        found = _refused(_too_large(order))
    except CountlineError as error:
        is_memory = any(word in error.message.lower() for word in MEMORY_WORDS)
        found = _refused(_too_large(order) if is_memory else error)
    sys.stdout.write(json.dumps(found) + "\n")


def _limit(memory_bytes: int, timeout_s: float) -> None:
    resource.setrlimit(resource.RLIMIT_DATA, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # Its default action ends us wherever we are, in ONNX Runtime too, and though our parent may have died unseen.
    signal.setitimer(signal.ITIMER_REAL, timeout_s)
    # First in line when the machine runs out of memory: not the service that waits for us.
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")


def _examine(order: dict[str, Any]) -> dict[str, Any]:
    from countline_models.contract import FUSED_KEY, check_contract, metadata_of, read_model

    file, labels = Path(order["file"]), order["labels"]
    contract = check_contract(file, labels=None if labels is None else tuple(labels))
    return {"contract": asdict(contract), "fused": metadata_of(read_model(file)).get(FUSED_KEY, "")}


def _write_answers(order: dict[str, Any]) -> dict[str, Any]:
    import numpy as np

    from countline_models.contract import check_contract, open_session, run_contract
    from countline_models.noise import noise_frames

    file = Path(order["file"])
    contract = check_contract(file, run=False)
    frames = noise_frames(contract.height, contract.width)
    np.save(order["answers"], run_contract(open_session(file.read_bytes()), frames))
    return {}


def _too_large(order: dict[str, Any]) -> InvalidInputError:
    return InvalidInputError(
        f"{Path(order['file']).name} needs more than {int(order['memory_bytes']) / 2**30:.3g} GiB of memory to run",
        hint=MEMORY_HINT,
    )


def _refused(error: CountlineError) -> dict[str, Any]:
    return {"error": {"code": error.code, "message": error.message, "hint": error.hint}}


if __name__ == "__main__":
    main()
