"""The revisions of a schema are read from the names of its migrations."""

from importlib.resources import as_file, files

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory

from countline_common.data import database

SERVICES = ("auth", "cameras", "models", "workers")
PACKAGES = (*(f"countline_control.{service}" for service in SERVICES), "countline_analytics.store")


@pytest.mark.parametrize("package", PACKAGES)
def test_the_names_of_migrations_begin_with_their_revisions_in_order(package: str) -> None:
    with as_file(files(package) / "migrations") as scripts:
        config = Config()
        config.set_main_option("script_location", str(scripts))
        found = [script.revision for script in ScriptDirectory.from_config(config).walk_revisions()]
    assert database._revisions(package) == tuple(reversed(found))
