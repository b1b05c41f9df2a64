"""The numbers that the room's README publishes are those that count."""

import re
from pathlib import Path

from countline_pipelines.counting import rules

README = Path(__file__).resolve().parents[3] / "pipelines" / "README.md"


def test_the_readme_publishes_every_number_of_the_rules_as_it_is() -> None:
    table = README.read_text(encoding="utf-8").split("<!-- rules -->")[1].split("<!-- rules end -->")[0]
    rows = re.findall(r"^\| `([A-Z_]+)` \| ([0-9.]+) \|", table, re.MULTILINE)
    published = {name: float(value) for name, value in rows}
    real = {name: float(value) for name, value in vars(rules).items() if name.isupper()}
    assert published == real
