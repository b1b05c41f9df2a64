"""The page of limits names what there is: settings with their defaults, and metrics."""

import json

import pytest
from prometheus_client.metrics import MetricWrapperBase
from pydantic import BaseModel
from tests.fixtures.repository import REPOSITORY

from countline_analytics.settings import ApiSettings
from countline_common.resilience import dependency
from countline_common.resilience.policy import CallLimits
from countline_control.settings import ControlSettings

PAGE = (REPOSITORY / "docs" / "resilience.md").read_text()


def settings() -> dict[str, CallLimits]:
    fields = {**ApiSettings.model_fields, **ControlSettings.model_fields}
    return {name: field.default for name, field in fields.items() if isinstance(field.default, CallLimits)}


@pytest.mark.parametrize("name", sorted(settings()))
def test_the_page_has_each_setting_with_its_defaults(name: str) -> None:
    limits, short = settings()[name], name.removeprefix("calls_").upper()
    (row,) = (line for line in PAGE.splitlines() if line.startswith("|") and f"_{short}`" in line)
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert f"{limits.deadline_s:g} s" in cells[3]
    assert f"{limits.failures}, {limits.open_s:g} s" == cells[5]
    assert cells[6].removesuffix(" each") == f"{limits.calls}, {limits.waiting}"


def test_the_example_of_the_page_names_every_limit() -> None:
    (example,) = (line for line in PAGE.splitlines() if "COUNTLINE_CALLS_OIDC='" in line)
    given = json.loads(example.partition("'")[2].rstrip("'"))
    limits: type[BaseModel] = type(ControlSettings.model_fields["calls_oidc"].default)
    assert set(given) == set(limits.model_fields)
    limits.model_validate(given)


def test_the_page_has_each_metric() -> None:
    metrics = [value for value in vars(dependency).values() if isinstance(value, MetricWrapperBase)]
    assert len(metrics) == 4
    for metric in metrics:
        name = next(iter(metric.collect())).name
        assert name in PAGE or f"…_{name.rpartition('_')[2]}" in PAGE
