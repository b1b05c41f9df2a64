"""The README of the room publishes the numbers and reasons that counting uses."""

import re

from tests.fixtures.repository import REPOSITORY

from countline_counting import rules
from countline_counting.reasons import REASONS

README = REPOSITORY / "pipelines" / "README.md"


def table(name: str) -> str:
    return README.read_text(encoding="utf-8").split(f"<!-- {name} -->")[1].split(f"<!-- {name} end -->")[0]


def test_the_readme_publishes_every_number_of_the_rules_as_it_is() -> None:
    rows = re.findall(r"^\| `([A-Z_]+)` \| ([0-9.]+) \|", table("rules"), re.MULTILINE)
    published = {name: float(value) for name, value in rows}
    real = {name: float(value) for name, value in vars(rules).items() if name.isupper()}
    assert published == real


def test_the_readme_publishes_every_reason_with_its_meaning() -> None:
    published = dict(re.findall(r"^\| `([a-z_]+)` \| (.*) \|$", table("reasons"), re.MULTILINE))
    assert published == {reason.value: meaning for reason, meaning in REASONS.items()}
