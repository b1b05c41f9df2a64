"""Loads one version of a model: has Triton serve it, suits its configuration to the machine, reads its labels."""

import os
from typing import Final

from countline_common.resilience.retry import Cooldowns
from countline_common.triton import ModelInfo, ModelOverrides, ModelRef, ModelRefusedError
from countline_common.triton.connection import Connection
from countline_common.triton.model_config import Config, model_info, overridden, usual_overrides

LOOK_AGAIN_S: Final = 10.0
LOOK_AGAIN_LONGEST_S: Final = 600.0
"""Between loads of a model for a version that Triton did not serve after the last load, for example a retired version
that a camera still names. Where the version's file cannot be loaded, each load also loads the model's other versions
again, while they count."""


class ModelLoader:
    """Loads versions of models.

    Args:
        connection: to the server.
        embedded: whether the server runs on this machine's cores; then the loader decides how many instances suit it.
    """

    def __init__(self, connection: Connection, *, embedded: bool) -> None:
        self._connection = connection
        self._embedded = embedded
        self._missing: dict[str, ModelRefusedError] = {}
        self._cooldowns = Cooldowns[str](LOOK_AGAIN_S, LOOK_AGAIN_LONGEST_S)

    async def load(self, model: str, overrides: ModelOverrides | None) -> ModelInfo:
        """Load `NAME` or `NAME@VERSION`; without a version, the newest that Triton serves.

        Raises:
            ModelRefusedError: Triton does not serve the version, or the model breaks the contract.
            InferenceLostError: Triton does not answer.
        """
        wanted = ModelRef.parse(model)
        config = await self._connection.model_config(wanted.name)
        is_served = config is not None and bool(await self._chosen_version(wanted))
        if not is_served:
            await self._load_missing(wanted, other_versions_run=config is not None)
            config = await self._connection.model_config(wanted.name)
        if config is None:
            raise ModelRefusedError(f"Triton does not serve the model {wanted.name!r}", hint="see Triton's log")
        # The client that loaded a served model has suited it already. Loading it again would drop a version that is
        # added at this moment: the configuration that is sent names the versions that were served before.
        suited = config if is_served and overrides is None else self._suited(config, overrides)
        if suited != config:
            await self._connection.load(wanted.name, suited)
        # From here on by number: a version that is added later must not take over unseen.
        version = await self._chosen_version(wanted)
        if not version:
            raise self._record_missing(wanted, await self._version_missing(wanted))
        self._missing.pop(str(wanted), None)
        self._cooldowns.record_success(str(wanted))
        bare = model_info(suited, version, ())
        labels = await self._connection.labels(bare.ref, (bare.height, bare.width, 3), bare.max_detections * 6)
        return model_info(suited, version, labels)

    async def _load_missing(self, wanted: ModelRef, *, other_versions_run: bool) -> None:
        """Load a model of which a version is not served, but seldom while its other versions run."""
        missing = self._missing.get(str(wanted))
        if other_versions_run and missing is not None and not self._cooldowns.may_try(str(wanted)):
            raise missing.with_traceback(None)
        try:
            await self._connection.load(wanted.name)
        except ModelRefusedError as error:
            raise self._record_missing(wanted, error) from None

    def _record_missing(self, wanted: ModelRef, error: ModelRefusedError) -> ModelRefusedError:
        self._cooldowns.record_failure(str(wanted))
        self._missing[str(wanted)] = error
        self._missing = {model: each for model, each in self._missing.items() if model in self._cooldowns}
        return error

    async def _chosen_version(self, wanted: ModelRef) -> int:
        """Return the version to use, the newest if `wanted` names none; 0 if Triton does not serve it."""
        ready = await self._connection.ready_versions(wanted.name)
        if not wanted.version:
            return max(ready, default=0)
        return wanted.version if wanted.version in ready else 0

    async def _version_missing(self, wanted: ModelRef) -> ModelRefusedError:
        ready = await self._connection.ready_versions(wanted.name)
        served = ", ".join(map(str, ready)) or "none"
        return ModelRefusedError(
            f"Triton does not serve {wanted}; versions of {wanted.name!r} that it serves: {served}",
            hint=f"name another one (countline models list), or bring it back: countline models promote {wanted}",
        )

    def _suited(self, config: Config, overrides: ModelOverrides | None) -> Config:
        """Return a configuration as this machine runs it."""
        usual = usual_overrides(config, len(os.sched_getaffinity(0))) if self._embedded else ModelOverrides()
        return overridden(config, overrides or usual)
