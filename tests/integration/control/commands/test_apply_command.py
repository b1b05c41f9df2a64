"""`countline apply` and `countline sites export`, as processes, against running services."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from tests.fixtures.control.auth import PASSWORD
from tests.fixtures.control.shell import Shell
from tests.fixtures.repository import REPOSITORY

CAMERAS_IN_TIME = 200
BOUND_S = 60.0
"""Three times what is promised, since the machine may be busy."""
SITE = """\
sites:
  lab: {time_zone: Europe/Berlin}
cameras:
  door:
    site: lab
    stream_url: rtsp://joe:***@10.0.0.7/live
    password_env: DOOR_PASSWORD
    lines:
      - gate:0.1,0.5,0.9,0.5:person
  yard:
    site: lab
    stream_url: rtsp://10.0.0.8/live
"""


@pytest.fixture
async def shell(control_dsn: str, start_control: Callable, tmp_path: Path) -> Shell:
    (tmp_path / "first-password").write_text(PASSWORD + "\n")
    control = await start_control(control_dsn, admin_password_file=tmp_path / "first-password")
    shell = Shell(control.plane.addresses, tmp_path)
    shell.environment["DOOR_PASSWORD"] = "s3cret/word"
    (tmp_path / "site.yaml").write_text(SITE)
    return shell


async def applied(shell: Shell, *words: str) -> dict:
    return await shell.json("apply", "-f", "site.yaml", *words)


async def test_a_file_is_applied_once_and_a_dry_run_says_by_its_code_whether_it_would_change(shell: Shell) -> None:
    code, out, err = await shell.run("apply", "-f", "site.yaml", "--dry-run")
    assert code == 4, err
    assert "camera door: create" in out
    assert "a worker starts it" in out
    assert (await shell.json("sites", "list"))["sites"] == []

    found = await applied(shell)
    assert [(each["action"], each["id"], each["result"]) for each in found["changes"]] == [
        ("create", "lab", "applied"),
        ("create", "door", "applied"),
        ("create", "yard", "applied"),
    ]
    assert "s3cret" not in out + err + str(found)
    code, out, _ = await shell.run("apply", "-f", "site.yaml", "--dry-run")
    assert (code, "0 to update, 0 to delete, 3 unchanged" in out) == (0, True)
    assert (await applied(shell))["changes"] == []
    assert (await shell.json("cameras", "show", "door"))["revision"] == 1

    shell.environment["DOOR_PASSWORD"] = "another"
    (change,) = (await applied(shell))["changes"]
    assert [each["field"] for each in change["differences"]] == ["password"]
    assert change["consequences"][0]["effect"] == "new_run"
    assert (await applied(shell))["changes"] == []


async def test_the_plan_names_the_version_that_the_service_gives_a_line(shell: Shell) -> None:
    """A line that was removed and is drawn elsewhere goes on with its versions, which only the service knows."""
    await applied(shell)
    await shell.ok("cameras", "set", "door", "--rm-line", "gate")
    (shell.folder / "site.yaml").write_text(SITE.replace("0.1,0.5,0.9,0.5", "0.2,0.5,0.9,0.5"))
    code, out, _ = await shell.run("apply", "-f", "site.yaml", "--dry-run")
    assert (code, "line gate begins to count with version 2" in out) == (4, True)
    assert "no coverage is lost" in out
    assert (await shell.json("cameras", "show", "door"))["spec"]["lines"] == []
    await applied(shell)
    assert (await shell.json("cameras", "show", "door"))["spec"]["lines"][0]["version"] == 2


async def test_nothing_changes_when_the_service_refuses_one_camera(shell: Shell) -> None:
    await applied(shell)
    text = SITE.replace("10.0.0.8/live", "10.0.0.9/live\n    playback: loop").replace("gate:", "new:")
    (shell.folder / "site.yaml").write_text(text)
    code, out, err = await shell.run("apply", "-f", "site.yaml")
    assert (code, out) == (1, "")
    assert "site.yaml:13: camera yard: playback is for files only" in err
    assert "nothing was changed" in err
    assert (await shell.json("cameras", "show", "door"))["revision"] == 1


async def test_prune_asks_and_deletes_what_the_file_no_longer_states(shell: Shell) -> None:
    await applied(shell)
    await shell.ok("sites", "add", "far")
    await shell.ok("cameras", "add", "far-door", "rtsp://h/1", "--site", "far")
    (shell.folder / "site.yaml").write_text(SITE.partition("  yard:")[0])
    assert (await applied(shell))["changes"] == []
    code, out, err = await shell.run("apply", "-f", "site.yaml", "--prune", stdin="n\n")
    assert (code, "Delete 1 camera (yard)? Counts and history stay." in err) == (1, True)
    assert "its counts and its history stay" in out
    await applied(shell, "--prune", "--yes")
    left = [each["camera_id"] for each in (await shell.json("cameras", "list"))["cameras"]]
    assert left == ["door", "far-door"]


async def test_a_change_of_another_user_in_between_is_not_overwritten(shell: Shell) -> None:
    await applied(shell)
    text = SITE.partition("  yard:")[0].replace("    lines:", "    rate: 12\n    lines:")
    (shell.folder / "site.yaml").write_text(text)
    process = await shell.start("apply", "-f", "site.yaml", "--prune")
    # The question comes after the plan is made.
    asked = await asyncio.wait_for(process.stderr.readuntil(b"[y/N]:"), 60)
    assert b"Delete 1 camera (yard)?" in asked
    await shell.ok("cameras", "set", "door", "--location", "Lobby")
    _, err = await asyncio.wait_for(process.communicate(b"y\n"), 60)
    assert process.returncode == 1
    assert b"Failed: update camera door: camera 'door' was changed meanwhile: it has revision 2, not 1" in err
    assert b"Not tried: delete camera yard" in err
    await applied(shell, "--prune", "--yes")
    door = await shell.json("cameras", "show", "door")
    assert (door["location"], door["spec"]["processing_rate"]) == ("Lobby", 12)


async def test_an_export_is_applied_without_a_change_and_restores_what_it_held(shell: Shell) -> None:
    await applied(shell)
    await shell.ok(
        "cameras", "set", "yard", "--queue", "q:0,0,1,0,1,1", "--mask-ignore", "m:0,0,1,0,1,1", "--rate", "5"
    )
    (shell.folder / "site.yaml").write_text((await shell.run("sites", "export", "lab"))[1])
    assert "s3cret" not in (shell.folder / "site.yaml").read_text()
    assert (await applied(shell))["changes"] == []
    before = (await shell.json("cameras", "show", "yard"))["spec"]
    await shell.ok("cameras", "set", "yard", "--rm-zone", "q", "--rm-mask", "m", "--rate", "0", "--line", "x:0,0,1,1")
    await applied(shell)
    assert (await shell.json("cameras", "show", "yard"))["spec"] == before
    code, _, err = await shell.run("sites", "export", "nowhere")
    assert (code, "there is no site 'nowhere'" in err) == (1, True)


async def test_two_hundred_cameras_of_a_table_are_applied_in_time(shell: Shell) -> None:
    await shell.ok("sites", "add", "lab")
    head = "camera,site,name,stream_url,tags,lines\n"
    rows = [
        f'c{i},lab,Camera {i},rtsp://10.0.{i}.1/live,a b,"gate:0.1,0.5,0.9,0.5 till:0,0,1,1"\n'
        for i in range(CAMERAS_IN_TIME)
    ]
    (shell.folder / "cameras.csv").write_text(head + "".join(rows))
    began = time.monotonic()
    found = await shell.json("apply", "-f", "cameras.csv")
    took_s = time.monotonic() - began
    print(f"{CAMERAS_IN_TIME} cameras in {took_s:.1f} s")
    assert {each["result"] for each in found["changes"]} == {"applied"}
    assert len((await shell.json("cameras", "list"))["cameras"]) == CAMERAS_IN_TIME
    assert (await shell.json("apply", "-f", "cameras.csv"))["changes"] == []
    assert took_s < BOUND_S


async def test_the_example_of_the_documentation_can_be_applied(shell: Shell) -> None:
    text = (REPOSITORY / "docs" / "declarative.md").read_text()
    example = text.partition("```yaml\n")[2].partition("```")[0]
    (shell.folder / "site.yaml").write_text(example)
    stated = yaml.safe_load(example)
    found = await applied(shell)
    assert {each["id"] for each in found["changes"]} == {*stated["sites"], *stated["cameras"]}
    assert (await applied(shell))["changes"] == []
