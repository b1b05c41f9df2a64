"""The models of a client: what was loaded, which of them Triton refuses now, and how they come back after a restart."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import structlog

from countline_common.triton import ModelInfo, ModelOverrides, ModelRef, ModelRefusedError
from countline_common.triton.connection import Connection
from countline_pipelines.triton.loading import ModelLoader

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model as it was loaded."""

    info: ModelInfo
    overrides: ModelOverrides | None
    refusal: ModelRefusedError | None = None
    """Why Triton no longer serves it."""


class LoadedModels:
    """The models that a client loaded, by the name (`NAME` or `NAME@VERSION`) that the caller asked for."""

    def __init__(self, connection: Connection, loader: ModelLoader) -> None:
        self._connection = connection
        self._loader = loader
        self._models: dict[str, LoadedModel] = {}
        self._dead_backends: set[str] = set()

    async def load(self, model: str, overrides: ModelOverrides | None) -> ModelInfo:
        """Load a model and keep it in mind."""
        info = await self._loader.load(model, overrides)
        self._models[model] = LoadedModel(info, overrides)
        log.info("model ready", model=model, version=info.version, instances=info.instances)
        return info

    def release(self, model: str) -> None:
        """Forget a model; Triton goes on serving it."""
        self._models.pop(model, None)

    async def unload(self, model: str) -> None:
        """Forget a model and have Triton unload it."""
        self.release(model)
        await self._connection.unload(ModelRef.parse(model).name)

    def known(self, model: str) -> LoadedModel:
        """Return a loaded model.

        Raises:
            ModelRefusedError: it was not loaded here.
        """
        if model not in self._models:
            raise ModelRefusedError(f"the model {model!r} was not loaded by this client", hint="load it first")
        return self._models[model]

    def limit_batch(self, model: str, loaded: LoadedModel, frames: int) -> None:
        """Record that a model takes fewer frames in a request now, unless it was released or loaded again meanwhile."""
        if self._models.get(model) is loaded:
            log.info("model takes fewer frames", model=model, max_batch_size=frames)
            self._models[model] = replace(loaded, info=replace(loaded.info, max_batch_size=frames))

    def record_dead_backend(self, name: str) -> None:
        """Record that the process of a model died: Triton starts another one only after the model is unloaded."""
        self._dead_backends.add(name)

    async def restore(self) -> None:
        """Load all models in a Triton that has restarted. A refused version does not delay the others."""
        for model, loaded in tuple(self._models.items()):
            await self._restore(model, loaded)

    def refused(self) -> Mapping[str, LoadedModel]:
        """Return the models that Triton refused at the last restoration."""
        return {model: loaded for model, loaded in self._models.items() if loaded.refusal is not None}

    async def restore_refused(self, refused: Mapping[str, LoadedModel]) -> None:
        """Load refused versions again, except where Triton serves the model's other versions without them.

        Loading such a model would load its other versions again for nothing.
        """
        for model, loaded in refused.items():
            served = await self._connection.ready_versions(loaded.info.name)
            if not served or loaded.info.version in served:
                await self._restore(model, loaded)

    async def _restore(self, model: str, loaded: LoadedModel) -> None:
        if loaded.info.name in self._dead_backends:
            await self._connection.unload(loaded.info.name)
            self._dead_backends.discard(loaded.info.name)
        try:  # the version that was chosen at first, although another may be the newest by now
            info = await self._loader.load(str(loaded.info.ref), loaded.overrides)
            restored = LoadedModel(info, loaded.overrides)
        except ModelRefusedError as error:
            log.warning("model refused", model=model, reason=error.message)
            restored = replace(loaded, refusal=error)
        if self._models.get(model) is loaded:  # else it was released or loaded again meanwhile
            self._models[model] = restored
