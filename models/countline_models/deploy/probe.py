"""Looks into a model, in a process of its own: `python -m countline_models.deploy.probe`.

It reads a request from standard input and writes the result to standard output, both in JSON:

    {"file", "labels": [...] or null, "memory_bytes", "timeout_s", "answers": path or null}
    {"contract": {...}, "fused": "..."}   or   {"error": {"code", "message", "hint"}}

With `answers`, the model's answers to the test frames are written to that file (.npy) and nothing is checked. A graph
may use any amount of memory and time, or crash ONNX Runtime. So limits are set before the file is opened, and the
parent process interprets the way this process ends.
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
from countline_common.secrets.core_dumps import forbid_core_dumps

MEMORY_HINT: Final = "export a smaller network, or look for a tensor that grows without bounds"
MEMORY_WORDS: Final = ("bad alloc", "bad_alloc", "failed to allocate", "cannot allocate", "out of memory")


def main() -> None:
    """Handle the request on standard input."""
    import countline_models.contract  # noqa: F401  (before the limits: the import takes seconds on a busy machine)

    request: dict[str, Any] = json.load(sys.stdin)
    _limit(int(request["memory_bytes"]), float(request["timeout_s"]))
    try:
        found = _write_answers(request) if request["answers"] else _examine(request)
    except MemoryError:
        found = _refused(_too_large(request))
    except CountlineError as error:
        is_memory = any(word in error.message.lower() for word in MEMORY_WORDS)
        found = _refused(_too_large(request) if is_memory else error)
    sys.stdout.write(json.dumps(found) + "\n")


def _limit(memory_bytes: int, timeout_s: float) -> None:
    resource.setrlimit(resource.RLIMIT_DATA, (memory_bytes, memory_bytes))
    forbid_core_dumps()
    # SIGALRM ends this process anywhere, also inside ONNX Runtime, and also if its parent has died.
    signal.setitimer(signal.ITIMER_REAL, timeout_s)
    # If the machine runs out of memory, the kernel kills this process first, not the service that waits for it.
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")


def _examine(request: dict[str, Any]) -> dict[str, Any]:
    from countline_models.contract import FUSED_KEY, check_contract, metadata_of, read_model

    file, labels = Path(request["file"]), request["labels"]
    contract = check_contract(file, labels=None if labels is None else tuple(labels))
    return {"contract": asdict(contract), "fused": metadata_of(read_model(file)).get(FUSED_KEY, "")}


def _write_answers(request: dict[str, Any]) -> dict[str, Any]:
    import numpy as np

    from countline_models.contract import check_contract, open_session, run_contract
    from countline_models.noise import noise_frames

    file = Path(request["file"])
    contract = check_contract(file, run=False)
    frames = noise_frames(contract.height, contract.width)
    np.save(request["answers"], run_contract(open_session(file.read_bytes()), frames))
    return {}


def _too_large(request: dict[str, Any]) -> InvalidInputError:
    return InvalidInputError(
        f"{Path(request['file']).name} needs more than {int(request['memory_bytes']) / 2**30:.3g} GiB of memory to run",
        hint=MEMORY_HINT,
    )


def _refused(error: CountlineError) -> dict[str, Any]:
    return {"error": {"code": error.code, "message": error.message, "hint": error.hint}}


if __name__ == "__main__":
    main()
