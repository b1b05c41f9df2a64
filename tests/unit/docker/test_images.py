"""What every image of ours keeps to, read from its Dockerfile."""

import re
import tomllib
from importlib import import_module
from pathlib import Path

import pytest
from tests.fixtures.docker.images import DOCKER, load

DOCKERFILES = sorted(DOCKER.glob("*/Dockerfile"))
USER = "10001:10001"


def instructions(dockerfile: Path) -> list[tuple[str, str]]:
    """Instructions with what follows them, lines joined, comments left out."""
    lines = [line for line in dockerfile.read_text().splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in joined.splitlines() if line.strip())]


def final_stage(dockerfile: Path) -> list[tuple[str, str]]:
    found = instructions(dockerfile)
    last = max(index for index, (word, _) in enumerate(found) if word == "FROM")
    return found[last:]


def test_there_is_an_image_for_each_role():
    rooms = {path.parent.name for path in DOCKERFILES}
    assert rooms == {"analytics", "control-plane", "gateway", "triton", "worker", "worker-deepstream"}


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.parent.name)
def test_an_image_runs_unprivileged_says_how_it_is_and_what_it_is(dockerfile: Path):
    stage = dict(final_stage(dockerfile))
    assert stage["USER"] == USER
    assert "CMD" in stage["HEALTHCHECK"]
    for label in ("title", "description", "licenses", "version", "revision"):
        assert f"org.opencontainers.image.{label}=" in stage["LABEL"]


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.parent.name)
def test_the_user_is_set_after_everything_that_needs_root(dockerfile: Path):
    words = [word for word, _ in final_stage(dockerfile)]
    assert not {"RUN", "COPY", "ADD"} & set(words[words.index("USER") :])


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.parent.name)
def test_bases_are_named_by_tag_and_can_be_replaced(dockerfile: Path):
    found = instructions(dockerfile)
    stages = {rest.rpartition(" AS ")[2] for word, rest in found if word == "FROM" and " AS " in rest}
    for base in (rest.partition(" AS ")[0] for word, rest in found if word == "FROM"):
        assert base in stages or "${" in base, base
        assert "@sha256" not in base
    for word, rest in found[: [word for word, _ in found].index("FROM")]:
        assert word == "ARG"
        assert not rest.endswith(":latest")


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.parent.name)
def test_every_python_package_is_pinned(dockerfile: Path):
    for _, rest in instructions(dockerfile):
        for command in re.findall(r"pip install [^&]*|pip --python \S+ install [^&]*", rest):
            assert "--constraint constraints.txt" in command or "--no-deps" in command, command


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.parent.name)
def test_an_image_can_be_built_by_an_engine_without_buildkit(dockerfile: Path):
    text = dockerfile.read_text()
    assert not text.startswith("# syntax")
    assert "<<" not in text
    assert "--mount=" not in text


def test_what_is_copied_into_an_image_is_in_the_build_context():
    kept = {line[1:] for line in (DOCKER.parent / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    for dockerfile in DOCKERFILES:
        for word, rest in instructions(dockerfile):
            if word != "COPY" or rest.startswith("--from"):
                continue
            for source in rest.split()[:-1]:
                path = DOCKER.parent / source
                assert path.exists(), f"{dockerfile.parent.name}: {source}"
                assert source == "." or any(source == each or source.startswith(f"{each}/") for each in kept), source


def test_programs_of_the_images_can_be_executed():
    for script in (DOCKER / "image" / "entrypoint.sh", DOCKER / "postgres" / "databases.sh"):
        assert script.stat().st_mode & 0o111, script.name


def test_requirements_follow_extras_that_name_others():
    project = {
        "name": "countline",
        "dependencies": ["typer>=0.15"],
        "optional-dependencies": {"models": ["onnx>=1"], "control": ["alembic>=1", "countline[models]"]},
    }
    assert load("requirements").requirements(project, ["control"]) == ["alembic>=1", "onnx>=1", "typer>=0.15"]


def test_requirements_refuse_an_extra_that_is_not_there():
    project = {"name": "countline", "dependencies": [], "optional-dependencies": {}}
    with pytest.raises(KeyError):
        load("requirements").requirements(project, ["gpu"])


def test_requirements_of_the_images_name_extras_that_exist():

    project = tomllib.loads((DOCKER.parent / "pyproject.toml").read_text())["project"]
    for dockerfile in DOCKERFILES:
        for extras in re.findall(r"requirements\.py ([a-z ]*)>", dockerfile.read_text()):
            assert load("requirements").requirements(project, extras.split())


def test_what_a_dockerfile_imports_of_ours_exists() -> None:
    """The build of an image would find it out, and few who move a module build images."""
    found = [
        (module, name)
        for dockerfile in DOCKERFILES
        for module, name in re.findall(r"from (countline[\w.]*) import (\w+)", dockerfile.read_text())
    ]
    assert found, "this test sees what it looks for"
    assert [each for each in found if not hasattr(import_module(each[0]), each[1])] == []
