"""The one module that calls tritonclient, which has no types: typed calls, and our errors.

It uses the asynchronous client. On two cores a request costs the same processor time with the synchronous client in
threads (0.55 to 0.8 ms with shared memory). The asynchronous one was chosen because a coroutine can be cancelled and
needs no pool.
"""

import asyncio
import json
import time
from collections.abc import Awaitable
from typing import Any, Final, Self, TypeVar

import grpc
import numpy as np
from numpy.typing import NDArray
from tritonclient._plugin import InferenceServerClientPlugin
from tritonclient.grpc import InferInput, InferRequestedOutput
from tritonclient.grpc.aio import InferenceServerClient
from tritonclient.utils import InferenceServerException

from countline_common.errors import CountlineError, PermissionDeniedError
from countline_common.grpc.channels import proxy_options, proxy_remark
from countline_common.tasks import cancel
from countline_common.triton.access import SECRET_VARIABLE, headers_for
from countline_common.triton.model_config import INPUT_NAME, OUTPUT_NAME, Config, labels_of
from countline_common.triton.models import InferenceLostError, ModelRef, ModelRefusedError

CALL_TIMEOUT_S: Final = 5.0
LOAD_TIMEOUT_S: Final = 120.0
SILENT_S: Final = 60.0
"""A server that answers no call for this long during a load is away: the load is given up before its own time limit."""
_OPTIONS: Final = [
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    # gRPC's own pause grows to two minutes; a restarted Triton is ready within seconds.
    ("grpc.initial_reconnect_backoff_ms", 100),
    # This also limits one attempt to connect: on a busy machine a tenth of a second is not enough.
    ("grpc.min_reconnect_backoff_ms", 2000),
    ("grpc.max_reconnect_backoff_ms", 1000),
]
LOST_STATUS: Final = {"UNAVAILABLE", "DEADLINE_EXCEEDED", "CANCELLED", "NOT_FOUND"}
"""NOT_FOUND: a restarted Triton has not loaded our models yet."""
LOST_WORDS: Final = ("Unable to find shared memory region", "RST_STREAM")
"""Messages of a restarted Triton that does not know our frames, and of a connection that broke with INTERNAL."""
RESTRICTED_WORDS: Final = "protocol is restricted"
"""Part of Triton's answer to a restricted call without its secret."""
DEAD_BACKEND_WORDS: Final = ("Stub process", "is not healthy")
"""Messages for a dead backend process. Triton starts another one only when the model is loaded again."""

T = TypeVar("T")


class BackendDeadError(InferenceLostError):
    """The process that runs a model died; the model must be unloaded and loaded again."""


class _SecretPlugin(InferenceServerClientPlugin):  # type: ignore[misc]  # tritonclient has no types
    """Adds this machine's secret to every request."""

    def __init__(self, headers: dict[str, str]) -> None:
        self._headers = headers

    def __call__(self, request: Any) -> None:
        request.headers = {**(request.headers or {}), **self._headers}


class Connection:
    """Typed calls to one Triton over gRPC. Create and use it in one event loop."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._client = InferenceServerClient(address, channel_args=[*_OPTIONS, *proxy_options(address)])
        if headers := headers_for(address):
            self._client.register_plugin(_SecretPlugin(headers))

    async def close(self) -> None:
        """Close the channel."""
        await self._client.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def server_id(self) -> str:
        """The server's id; raises `InferenceLostError` if it does not answer."""
        metadata = await self._call(self._client.get_server_metadata(client_timeout=CALL_TIMEOUT_S))
        return str(metadata.name)

    async def model_config(self, model: str) -> Config | None:
        """A loaded model's configuration, with the defaults that Triton filled in; None if it is not loaded."""
        try:
            answer = await self._client.get_model_config(model, as_json=True, client_timeout=CALL_TIMEOUT_S)
        except InferenceServerException as error:
            if _status(error) == "NOT_FOUND" or "unknown model" in str(error):
                return None
            raise self._lost(error) from error
        except grpc.RpcError as error:
            raise self._lost(error) from error
        config: Config = answer["config"]
        return config

    async def ready_versions(self, model: str) -> tuple[int, ...]:
        """The versions of a model that Triton serves now, ascending; empty if it is not loaded."""
        index = await self._call(self._client.get_model_repository_index(client_timeout=CALL_TIMEOUT_S))
        ready = (entry for entry in index.models if entry.name == model and entry.state == "READY")
        return tuple(sorted(int(entry.version) for entry in ready))

    async def ready_models(self) -> set[str]:
        """Names of the models of which Triton serves a version now."""
        index = await self._call(self._client.get_model_repository_index(client_timeout=CALL_TIMEOUT_S))
        return {str(entry.name) for entry in index.models if entry.state == "READY"}

    async def load(self, model: str, config: Config | None = None) -> None:
        """Load a model, with a configuration in place of its own; raises `ModelRefusedError` with the cause."""
        text = json.dumps(config) if config is not None else None
        try:
            await self._while_answering(self._client.load_model(model, config=text, client_timeout=LOAD_TIMEOUT_S))
        except InferenceServerException as error:
            if RESTRICTED_WORDS in _words(error):
                raise self._restricted() from error
            if _status(error) in {"UNAVAILABLE", "DEADLINE_EXCEEDED", "CANCELLED"} and _is_transport(error):
                raise self._lost(error) from error
            raise _refusal(model, error) from error
        except grpc.RpcError as error:
            raise self._lost(error) from error

    async def unload(self, model: str) -> None:
        """Unload a model; does nothing if it is not loaded."""
        await self._call(self._while_answering(self._client.unload_model(model, client_timeout=LOAD_TIMEOUT_S)))

    async def register(self, name: str, size_bytes: int) -> None:
        """Let the server open one of our shared-memory segments; it closes an older one of that name first."""
        await self.unregister(name)
        await self._call(
            self._client.register_system_shared_memory(name, f"/{name}", size_bytes, client_timeout=CALL_TIMEOUT_S)
        )

    async def unregister(self, name: str) -> None:
        """Let the server close a segment; does nothing if it has none of that name."""
        await self._call(self._client.unregister_system_shared_memory(name, client_timeout=CALL_TIMEOUT_S))

    async def regions(self) -> set[str]:
        """Names of the segments that the server holds open."""
        status = await self._call(self._client.get_system_shared_memory_status(client_timeout=CALL_TIMEOUT_S))
        return set(status.regions)

    async def infer(self, model: ModelRef, frames: InferInput, timeout_s: float) -> NDArray[np.float32]:
        """One request to one version, or to the newest that is served; returns (n, max_detections, 6) float32."""
        request = self._client.infer(
            model.name, [frames], model_version=_version(model), outputs=_OUTPUTS, client_timeout=timeout_s
        )
        try:
            answer = await request
        except (InferenceServerException, grpc.RpcError) as error:
            raise self._inference_error(model.name, error) from error
        detections: NDArray[np.float32] = answer.as_numpy(OUTPUT_NAME)
        return detections

    async def labels(self, model: ModelRef, shape: tuple[int, int, int], elements: int) -> tuple[str, ...]:
        """The names in the label file of a model's output, which no other call returns.

        Args:
            model: a loaded model.
            shape: height, width, 3 of its input.
            elements: of its output, for one frame.
        """
        blank = bytes_input(np.zeros((1, *shape), np.uint8))
        wanted = [InferRequestedOutput(OUTPUT_NAME, class_count=elements)]
        request = self._client.infer(
            model.name, [blank], model_version=_version(model), outputs=wanted, client_timeout=LOAD_TIMEOUT_S
        )
        try:
            answer = await self._while_answering(request)
        except (InferenceServerException, grpc.RpcError) as error:
            raise self._inference_error(model.name, error) from error
        return labels_of(answer.as_numpy(OUTPUT_NAME).ravel().tolist())

    async def _while_answering(self, call: Awaitable[T]) -> T:
        """Await a call that may take minutes, while the server answers other calls.

        Raises:
            InferenceLostError: it answered none for `SILENT_S`.
        """
        task, answered_at = asyncio.ensure_future(call), time.monotonic()
        try:
            while not (await asyncio.wait({task}, timeout=CALL_TIMEOUT_S))[0]:
                try:
                    await self.server_id()
                    answered_at = time.monotonic()
                except InferenceLostError:
                    if (silent_s := time.monotonic() - answered_at) > SILENT_S:
                        raise self._silent(silent_s) from None
            return task.result()
        finally:
            await cancel(task)

    def _silent(self, silent_s: float) -> InferenceLostError:
        return InferenceLostError(
            f"Triton at {self.address} gave no answer for {silent_s:.0f} s while it was to load a model",
            hint="see Triton's log, and start it again",
        )

    async def _call(self, call: Awaitable[T]) -> T:
        try:
            return await call
        except (InferenceServerException, grpc.RpcError) as error:
            raise self._lost(error) from error

    def _lost(self, error: Exception) -> CountlineError:
        if RESTRICTED_WORDS in _words(error):
            return self._restricted()
        silent = _status(error) in {"UNAVAILABLE", "DEADLINE_EXCEEDED"}
        return InferenceLostError(
            f"Triton at {self.address} {'does not answer' if silent else 'fails'}: {_words(error)}",
            hint=proxy_remark(self.address) or "check that it runs: countline status",
        )

    def _restricted(self) -> PermissionDeniedError:
        return PermissionDeniedError(
            f"Triton at {self.address} refuses the call: it expects its secret",
            hint=f"set {SECRET_VARIABLE} to the file credentials/triton-secret of its data folder",
        )

    def _inference_error(self, model: str, error: Exception) -> CountlineError:
        words = _words(error)
        if any(sign in words for sign in DEAD_BACKEND_WORDS):
            return BackendDeadError(f"a process of Triton's that runs {model!r} died: {words}")
        if _status(error) in LOST_STATUS or any(sign in words for sign in LOST_WORDS):
            return InferenceLostError(f"Triton at {self.address} lost a batch for {model!r}: {words}")
        return _refusal(model, error)


_OUTPUTS: Final = [InferRequestedOutput(OUTPUT_NAME)]


def bytes_input(frames: NDArray[np.uint8]) -> InferInput:
    """Frames (n, height, width, 3) that travel in the request itself."""
    tensor = InferInput(INPUT_NAME, list(frames.shape), "UINT8")
    tensor.set_data_from_numpy(np.ascontiguousarray(frames))
    return tensor


def shared_input(region: str, offset_bytes: int, size_bytes: int, shape: tuple[int, ...]) -> InferInput:
    """Frames of that shape (n, height, width, 3) that lie in a registered segment."""
    tensor = InferInput(INPUT_NAME, list(shape), "UINT8")
    tensor.set_shared_memory(region, size_bytes, offset_bytes)
    return tensor


def _version(model: ModelRef) -> str:
    return str(model.version) if model.version else ""


def _status(error: Exception) -> str:
    """Name of the gRPC status, "" without one; tritonclient writes it as "StatusCode.NOT_FOUND"."""
    status: Any = error.status() if isinstance(error, InferenceServerException) else None
    return str(status or "").removeprefix("StatusCode.")


def _is_transport(error: Exception) -> bool:
    """Whether the connection failed; Triton itself answers UNAVAILABLE too, for models that are not ready."""
    words = str(error).lower()
    return any(sign in words for sign in ("connect", "socket", "deadline", "cancel", "transport", "eof"))


def _refusal(model: str, error: Exception) -> ModelRefusedError:
    words = _words(error)
    if "failed to poll from model repository" in words or "no such file" in words.lower():
        return ModelRefusedError(
            f"Triton's repository has no model {model!r}",
            hint="`countline models add` puts one there; its folder's name is the model's name",
        )
    return ModelRefusedError(
        f"Triton refuses the model {model!r}: {words}", hint="see Triton's log for the whole story"
    )


def _words(error: Exception) -> str:
    text = error.message() if isinstance(error, InferenceServerException) else str(error)
    return " ".join(str(text).split())[:600]
