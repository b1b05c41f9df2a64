"""Measures all settings: loads the model with each, puts a load on the server, and restores the configuration."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from countline_common.errors import DeadlineExceededError
from countline_common.resilience.interrupts import interrupted_once
from countline_common.triton import ModelInfo, ModelOverrides, ModelRef, ModelRefusedError
from countline_common.triton.connection import Connection
from countline_common.triton.model_config import Config, model_info, overridden
from countline_models.bench.load import Load, requests_of
from countline_models.bench.points import STABLE_WINDOWS, BenchPoint, Setting, Window, is_stable, loads_of, point_of

PATIENCE: Final = 3
"""A point that stays unstable is measured for at most this many times `seconds`."""


@dataclass(frozen=True, slots=True)
class BenchPlan:
    """What to measure."""

    model: ModelRef
    settings: Sequence[Setting]
    in_flight: Sequence[int] = ()
    """Batches in flight; empty for the default of `loads_of`."""
    seconds: float = 3.0
    """Time of each point, without the warm-up."""
    alone: bool = True
    """Whether the server is private: then only the measured version is loaded, and nothing is restored."""

    @property
    def points(self) -> int:
        """Number of points that will be measured."""
        return sum(len(loads_of(setting, self.in_flight)) for setting in self.settings)


@dataclass(frozen=True, slots=True)
class Sweep:
    """All measurements."""

    model: ModelRef
    """With its version."""
    info: ModelInfo
    server: str
    shared: bool
    """Whether frames were in shared memory."""
    points: Sequence[BenchPoint]


async def sweep(address: str, plan: BenchPlan, on_point: Callable[[BenchPoint], None]) -> Sweep:
    """Measure every setting under every load.

    On a shared server the model is as before at the end, also after an error, Ctrl-C or SIGTERM: loaded with the
    configuration that it had, or not loaded. Run it in the main thread, which receives the signals.

    Raises:
        InferenceLostError: Triton does not answer.
        ModelRefusedError: Triton lacks the model or the version or cannot run it so, or the model breaks the contract.
    """
    with interrupted_once():  # a second Ctrl-C would leave the configuration of the measurement
        return await _swept(address, plan, on_point)


async def _swept(address: str, plan: BenchPlan, on_point: Callable[[BenchPoint], None]) -> Sweep:
    async with Connection(address) as connection:
        server = await connection.server_id()
        before = await connection.model_config(plan.model.name)
        if before is None:
            await connection.load(plan.model.name)
        try:
            info, config = await _found(connection, plan)
            points, shared = await _measured(connection, plan, info, config, on_point)
        finally:
            if not plan.alone:
                await _restore(connection, plan.model.name, before)
    return Sweep(info.ref, info, server, shared, points)


async def _found(connection: Connection, plan: BenchPlan) -> tuple[ModelInfo, Config]:
    """The model, and its configuration, which the settings change."""
    config = await connection.model_config(plan.model.name)
    if config is None:
        raise ModelRefusedError(f"Triton does not serve the model {plan.model.name!r}", hint="see Triton's log")
    ready = await connection.ready_versions(plan.model.name)
    version = plan.model.version or max(ready, default=0)
    if plan.alone:  # also a version that is usually not served; others would only use memory
        config["version_policy"] = {"specific": {"versions": [version]}}
    elif version not in ready:
        served = ", ".join(map(str, ready)) or "none"
        raise ModelRefusedError(
            f"Triton does not serve {plan.model}", hint=f"it serves these versions of {plan.model.name!r}: {served}"
        )
    return model_info(config, version, ()), config


async def _measured(
    connection: Connection, plan: BenchPlan, info: ModelInfo, config: Config, on_point: Callable[[BenchPoint], None]
) -> tuple[list[BenchPoint], bool]:
    points: list[BenchPoint] = []
    shared = True
    for setting in plan.settings:
        await connection.load(info.name, _configured(config, setting))
        for in_flight in loads_of(setting, plan.in_flight):
            lanes = in_flight * setting.max_batch_size // setting.frames_a_request
            size_hw = (info.height, info.width)
            async with requests_of(connection, lanes, setting.frames_a_request, size_hw) as requests:
                load = Load(connection, info.ref, requests)
                windows = await load.windows(plan.seconds / STABLE_WINDOWS, _is_enough)
                shared = shared and requests.shared
            points.append(_point(info, setting, in_flight, windows))
            on_point(points[-1])
    return points, shared


def _configured(config: Config, setting: Setting) -> Config:
    overrides = ModelOverrides(
        instances=setting.instances,
        max_batch_size=setting.max_batch_size,
        max_queue_delay_us=setting.max_queue_delay_us,
    )
    return overridden(config, overrides)


def _is_enough(windows: Sequence[Window]) -> bool:
    return is_stable(windows) or len(windows) >= PATIENCE * STABLE_WINDOWS


def _point(info: ModelInfo, setting: Setting, in_flight: int, windows: Sequence[Window]) -> BenchPoint:
    if not any(window.frames for window in windows[-STABLE_WINDOWS:]):
        seconds = sum(window.seconds for window in windows)
        raise DeadlineExceededError(
            f"{info.ref} answered no batch of {setting.max_batch_size} within {seconds:.1f} s",
            hint="increase --seconds",
        )
    return point_of(setting, in_flight, windows)


async def _restore(connection: Connection, model: str, before: Config | None) -> None:
    if before is None:
        await connection.unload(model)
    else:
        await connection.load(model, before)
