"""Triton's repository and the Triton that serves it. No other module changes either.

Changes are made one after another, under the lock `changing`: first write, then load; if the load fails, restore.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final

from countline_common.errors import CountlineError
from countline_common.logs import get_logger
from countline_common.tasks import to_its_end
from countline_common.triton import ModelRef
from countline_common.triton.connection import Connection
from countline_common.triton.model_config import named_versions
from countline_control.models.domain import StoredModel, StoredVersion
from countline_models.contract_model import ContractModel
from countline_models.deploy import ExaminedModel, ModelFolder, ModelTarget, ServingTriton
from countline_models.repository.names import STAGING_PREFIX

STAGED_VERSION: Final = 1
_log = get_logger(__name__)


class Repository:
    """The models in a folder, and the Triton that serves them.

    Args:
        root: folder of the repository.
        triton_address: host:port of Triton.
    """

    def __init__(self, root: Path, triton_address: str) -> None:
        self.folder = ModelFolder(root)
        self.triton_address = triton_address
        self.changing = asyncio.Lock()
        """Held during each change of the served versions."""

    @asynccontextmanager
    async def staged(
        self, candidate: ExaminedModel, target: ModelTarget
    ) -> AsyncIterator[tuple[ServingTriton, ModelRef]]:
        """Serve a candidate under a staging name inside the block."""
        async with ServingTriton(self.triton_address) as serving:
            name = await asyncio.to_thread(self.folder.stage, candidate.file, candidate.contract, target)
            try:
                await serving.load(self.folder, name)
                yield serving, ModelRef(name, STAGED_VERSION)
            finally:
                await to_its_end(self._unstage(serving, name))

    async def unload_staged(self) -> None:
        """Unload candidates that a killed service left behind; their folders are gone already.

        Raises:
            UnavailableError: Triton does not answer.
        """
        async with Connection(self.triton_address) as connection:
            for name in await connection.ready_models():
                if name.startswith(STAGING_PREFIX) and not (self.folder.root / name).is_dir():
                    await connection.unload(name)

    async def _unstage(self, serving: ServingTriton, name: str) -> None:
        with suppress(CountlineError):  # if Triton is away, it forgets the candidate anyway
            await serving.unload(name)
        await asyncio.to_thread(self.folder.unstage, name)

    async def add(self, model: StoredModel, version: StoredVersion, file: Path) -> None:
        """Write the files of a new version, and wait until Triton serves it beside the others.

        Raises:
            ModelRefusedError: Triton does not load it; the other versions stay loaded.
        """
        await asyncio.to_thread(self.folder.write_version, version.name, version.version, file)
        await self._serve(model, (*model.served, version.version), {version.version: version.score_threshold})

    async def serve_also(self, model: StoredModel, version: StoredVersion) -> None:
        """Load a retired version again. If that fails, Triton keeps serving the others.

        Raises:
            CountlineError: Triton does not answer, or does not load it.
        """
        try:
            await self._serve(model, (*model.served, version.version), {version.version: version.score_threshold})
        except BaseException:
            if model.served:
                await self.write_config(model)
            raise

    async def take_back(self, model: StoredModel | None, version: StoredVersion) -> None:
        """Remove a version that could not be loaded; `model` has the remaining versions, None for none."""
        try:
            if model is None or not model.served:
                await self._unload(version.name)
            else:
                await self._serve(model, model.served, {})
        except CountlineError as error:
            _log.error("model.undo_failed", model=str(version.ref), error=error.message)
        only = model is None or not model.versions
        await asyncio.to_thread(self.folder.remove, version.name, 0 if only else version.version)

    async def remove_files(self, model: StoredModel, version: int) -> None:
        """Delete the files of a version that was never served; Triton notices at its next load."""
        left = [each for each in model.versions if each.version != version]
        if model.served:
            await self.write_config(model)
        await asyncio.to_thread(self.folder.remove, model.name, version if left else 0)

    async def refresh(self, model: StoredModel) -> None:
        """Make Triton serve exactly the versions that the model names.

        Raises:
            CountlineError: Triton does not answer, or does not load it.
        """
        if model.served:
            await self._serve(model, model.served, {})
        else:
            await self._unload(model.name)

    async def serves_others(self, model: StoredModel) -> bool:
        """Whether Triton is configured for other versions than the model names; False if the model is not loaded.

        Raises:
            InferenceLostError: Triton does not answer.
        """
        async with Connection(self.triton_address) as connection:
            config = await connection.model_config(model.name)
        named = named_versions(config) if config is not None else None
        return named is not None and named != set(model.served)

    def has_all(self, model: StoredModel) -> bool:
        """Whether the files of all versions to serve are on the disk."""
        return set(model.served) <= set(self.folder.versions(model.name))

    async def write_config(self, model: StoredModel) -> None:
        """Write the configuration of a model; the next load uses it."""
        await self._write_config(model, model.served, model.thresholds)

    async def _write_config(self, model: StoredModel, served: tuple[int, ...], thresholds: dict[int, float]) -> None:
        await asyncio.to_thread(
            self.folder.serve,
            model.name,
            served,
            model.contract,
            model.tuning,
            model.target,
            model.backend,
            thresholds,
        )

    async def _serve(self, model: StoredModel, served: tuple[int, ...], more: dict[int, float]) -> None:
        await self._write_config(model, served, {**model.thresholds, **more})
        async with ServingTriton(self.triton_address) as serving:
            await serving.load(self.folder, model.name)

    async def _unload(self, name: str) -> None:
        async with ServingTriton(self.triton_address) as serving:
            await serving.unload(name)

    async def warm_up(self, ref: ModelRef, contract: ContractModel) -> None:
        """Send a version its first frames, so that no camera has to wait for them."""
        async with ServingTriton(self.triton_address) as serving:
            await serving.warm_up(ref, contract)

    async def remove(self, name: str, version: int = 0) -> None:
        """Delete the files of a version, or of the whole model."""
        if not version:
            with suppress(CountlineError):
                await self._unload(name)
        await asyncio.to_thread(self.folder.remove, name, version)
