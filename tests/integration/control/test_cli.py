"""The commands, as processes, against running services."""

import asyncio
import json
import os
import time
from pathlib import Path

import pytest
from pyotp import TOTP
from tests.fixtures.analytics.stack import until
from tests.fixtures.control.fake_workers import working
from tests.fixtures.control.shell import Shell
from tests.fixtures.forked.command import countline

from countline_common.access.vocabulary import PEOPLE
from countline_control.auth.access.roles import BUILT_IN, MACHINE_ROLES

from .conftest import ADMIN_PASSWORD, Control

LINE = "gate:0.5,0.1,0.5,0.9"


@pytest.fixture
async def control(control_dsn: str, start_control, tmp_path: Path) -> Control:
    """All services, with the admin who logs in."""
    password = tmp_path / "first-password"
    password.write_text(ADMIN_PASSWORD + "\n")
    return await start_control(control_dsn, admin_password_file=password)


@pytest.fixture
def shell(control: Control, tmp_path: Path) -> Shell:
    return Shell(control.plane.addresses, tmp_path)


@pytest.fixture
async def site(shell: Shell) -> str:
    return (await shell.json("sites", "add", "lab", "--time-zone", "Europe/Berlin"))["site_id"]


async def test_on_this_machine_nobody_has_to_log_in(shell: Shell, site: str) -> None:
    assert (await shell.json("sites", "list"))["sites"][0]["time_zone"] == "Europe/Berlin"
    assert (await shell.json("whoami"))["permissions"] == sorted(PEOPLE)
    address = shell.endpoints["auth"]
    assert await shell.ok("whoami") == f"Logged in to {address} as admin (role super-admin: all permissions).\n"
    kept = shell.data / "run" / "cli-login.json"
    assert kept.stat().st_mode & 0o777 == 0o600


async def test_a_site_is_deleted_only_while_it_has_no_cameras(shell: Shell, site: str) -> None:
    await shell.ok("cameras", "add", "door", "rtsp://127.0.0.1:1/door", "--site", site)
    code, _, err = await shell.run("sites", "rm", site, "--yes")
    assert (code, "still has cameras: door" in err, "countline cameras rm" in err) == (1, True, True)
    await shell.ok("cameras", "rm", "door", "--yes")
    await shell.ok("sites", "rm", site, "--yes")
    assert (await shell.json("sites", "list"))["sites"] == []


async def test_the_time_zone_of_a_site_is_corrected(shell: Shell, site: str) -> None:
    changed = await shell.json("sites", "set", "lab", "--timezone", "Asia/Tokyo", "--from", "2026-03-01")
    assert changed["time_zone"] == "Asia/Tokyo"
    assert changed["earlier_time_zones"] == [{"time_zone": "Europe/Berlin", "until": "2026-03-01"}]
    assert "Asia/Tokyo, Europe/Berlin before 2026-03-01" in await shell.ok("sites", "list")
    await shell.ok("sites", "set", "lab", "--title", "Laboratory")
    changed = await shell.json("sites", "set", "lab", "--time-zone", "UTC")
    assert (changed["time_zone"], changed["earlier_time_zones"], changed["title"]) == ("UTC", [], "Laboratory")
    for wrong in (
        ["--time-zone", "right/UTC"],
        ["--time-zone", "UTC", "--from", "May"],
        ["--from", "2026-01-01"],
        [],
    ):
        code, _, err = await shell.run("sites", "set", "lab", *wrong)
        assert (code, "error:" in err) == (1, True)


async def test_a_camera_is_added_shown_changed_and_removed(shell: Shell, site: str) -> None:
    url = "rtsp://joe:secret@camera.invalid/live"
    added = await shell.json("cameras", "add", "door", url, "--line", LINE, "--rate", "12.5", "--name", "Front door")
    assert added["stream_url"] == "rtsp://joe:***@camera.invalid/live"
    assert added["spec"]["lines"][0] == {
        "line_id": "gate",
        "points": [{"x": 0.5, "y": 0.1}, {"x": 0.5, "y": 0.9}],
        "version": 1,
        "classes": [],
    }
    changed = await shell.json(
        "cameras",
        "set",
        "door",
        "--line",
        "gate:0.4,0.1,0.4,0.9:person,vehicle",
        "--zone",
        "z:0,0,1,0,1,1",
        "--tag",
        "north",
        "--position",
        "52.52,13.405",
    )
    assert changed["spec"]["lines"][0]["version"] == 2
    assert changed["spec"]["lines"][0]["classes"] == ["person", "vehicle"]
    assert (changed["tags"], changed["position"]) == (["north"], {"latitude": 52.52, "longitude": 13.405})
    assert changed["spec"]["processing_rate"] == 12.5
    shown = await shell.ok("cameras", "show", "door")
    assert "gate:0.4,0.1,0.4,0.9:person,vehicle" in shown
    assert "secret" not in shown
    assert (await shell.json("cameras", "set", "door", "--rm-line", "gate"))["spec"]["lines"] == []
    for word, status in (("pause", "paused"), ("deactivate", "inactive"), ("resume", "active")):
        assert (await shell.json("cameras", word, "door"))["status"] == status
        assert await shell.json("cameras", "list", "--status", status, "--tag", "north", "--sort", "name")
    code, _, err = await shell.run("cameras", "retire", "door", stdin="n\n")
    assert code == 1
    assert (await shell.json("cameras", "retire", "door", "--yes"))["status"] == "retired"
    code, _, err = await shell.run("cameras", "resume", "door")
    assert (code, "cannot become active" in err) == (1, True)
    code, _, _ = await shell.run("cameras", "rm", "door", stdin="n\n")
    assert code == 1
    await shell.ok("cameras", "rm", "door", "--yes")
    assert (await shell.json("cameras", "list"))["cameras"] == []


async def test_a_queue_and_the_ground_are_given_shown_and_taken_away(shell: Shell, site: str) -> None:
    corners = ("0.3,0.3=0,30", "0.7,0.3=8,30", "0.95,0.95=8,0", "0.05,0.95=0,0")
    ground = [word for corner in corners for word in ("--ground", corner)]
    added = await shell.json("cameras", "add", "till", "rtsp://h/live", "--queue", "q:0,0,1,0,1,1", *ground)
    assert added["spec"]["zones"][0]["queue"] is True
    assert [point["y_m"] for point in added["spec"]["ground_plane"]["points"]] == [30, 30, 0, 0]
    shown = await shell.ok("cameras", "show", "till")
    assert "queue" in shown
    assert "0.3,0.3=0,30" in shown
    code, _, err = await shell.run("cameras", "set", "till", *ground[:6])
    assert code == 1
    assert "spec.ground_plane.points: has 3 entries; give 4" in err
    changed = await shell.json("cameras", "set", "till", "--rm-ground", "--zone", "q:0,0,1,0,1,1")
    assert not changed["spec"].get("ground_plane")
    assert (changed["spec"]["zones"][0]["queue"], changed["spec"]["zones"][0]["version"]) == (False, 2)


async def test_an_error_names_each_field_and_the_hint_and_leaves_with_1(shell: Shell, site: str) -> None:
    code, out, err = await shell.run(
        "cameras", "add", "Door!", "ftp://x/y", "--line", "gate:0.5,0.5,0.5,0.5", "--line", "far:0,0,640,480"
    )
    assert (code, out) == (1, "")
    assert "camera_id: 'Door!' is not an id; give 1 to 63 lower-case letters" in err
    assert "stream_url: has an unknown scheme; write rtsp://" in err
    assert "spec.lines[0].points: has both ends at the same point" in err
    assert "spec.lines[1].points[1]: (640, 480) lies outside" in err
    code, _, err = await shell.run("cameras", "add", "door", "rtsp://x/y", "--line", "gate")
    assert code == 1
    assert "hint: write NAME:x1,y1,x2,y2" in err
    code, _, err = await shell.run("cameras", "show", "nowhere")
    assert code == 1
    assert "there is no camera 'nowhere'" in err


async def test_a_camera_added_by_the_command_is_with_the_worker_within_5_s(
    shell: Shell, site: str, control: Control
) -> None:
    async with working(control) as worker:
        await shell.ok("cameras", "add", "door", "rtsp://camera.invalid/live", "--line", LINE)
        await asyncio.wait_for(worker.until(lambda w: "door" in w.epochs), 5)
        listed = (await shell.json("workers", "list"))["workers"]
        assert [(item["worker_id"], item["state"], item["camera_ids"]) for item in listed] == [
            ("worker-1", "online", ["door"])
        ]
        assert "worker-1" in await shell.ok("workers", "list")


async def test_a_viewer_logs_in_looks_and_may_not_change(shell: Shell, site: str) -> None:
    await shell.ok("users", "add", "vera", "--role", "viewer", "--password-stdin", stdin="a long password\n")
    away = {"PATH": os.environ["PATH"], "HOME": str(shell.folder / "vera")}
    code, _, err = await shell.run("cameras", "list", "--server", shell.server, environment=away)
    assert code == 1
    assert "hint: countline login --server auth=" in err
    login = ("login", "--server", shell.server, "--username", "vera", "--password-stdin")
    code, _, err = await shell.run(*login, stdin="a wrong password\n", environment=away)
    assert code == 1
    assert "the user name or the password is wrong" in err
    assert "Logged in" in await shell.ok(*login, stdin="a long password\n", environment=away)
    assert (await shell.json("whoami", environment=away))["user"]["username"] == "vera"
    assert "lab" in await shell.ok("sites", "list", environment=away)
    code, _, err = await shell.run("sites", "add", "other", environment=away)
    assert code == 1
    assert "the permission 'camera:write' is missing" in err
    await shell.ok("logout", environment=away)
    code, _, err = await shell.run("whoami", environment=away)
    assert code == 1


async def test_a_role_over_a_site_is_granted_explained_and_revoked(shell: Shell, site: str) -> None:
    await shell.ok("cameras", "add", "door", "rtsp://127.0.0.1:1/door", "--site", site)
    await shell.ok("roles", "add", "looker", "-p", "self:read", "-p", "camera:read")
    await shell.ok("users", "add", "vera", "--role", "looker", "--password-stdin", stdin="a long password\n")
    user = await shell.json("users", "grant", "vera", "--role", "operator", "--site", site)
    assert (user["roles"], user["grants"]) == (["looker"], [{"role": "operator", "site_id": "lab", "camera_ids": []}])
    code, _, err = await shell.run("users", "grant", "vera", "--role", "operator", "--site", "moon")
    assert (code, "there is no site 'moon'" in err) == (1, True)
    assert "looker, operator over site lab" in await shell.ok("users", "list")
    why = await shell.ok("auth", "can", "vera", "camera:write", "--camera", "door", "--why")
    assert why.splitlines()[:2] == [
        "yes",
        "  role operator over site lab permits camera:write and covers camera door of site lab",
    ]
    code, out, _ = await shell.run("auth", "can", "vera", "camera:delete", "--site", site)
    assert (code, out) == (1, "no\n")
    code, _, err = await shell.run("roles", "rm", "looker", "--yes")
    assert (code, "is still held; users: 1" in err) == (1, True)
    await shell.ok("users", "revoke", "vera", "--role", "operator", "--site", site)
    await shell.ok("users", "set", "vera", "--role", "guest", "--email", "v@example.org")
    await shell.ok("roles", "rm", "looker", "--yes")
    assert [role["name"] for role in (await shell.json("roles", "list"))["roles"]] == sorted(BUILT_IN | MACHINE_ROLES)
    assert "camera:read" in await shell.ok("roles", "show", "guest")


async def test_an_account_is_reset_disabled_and_changed_by_its_user(shell: Shell) -> None:
    away = {"PATH": os.environ["PATH"], "HOME": str(shell.folder / "vera")}
    login = ("login", "--server", shell.server, "--username", "vera", "--password-stdin")
    await shell.ok("users", "add", "vera", "--password-stdin", stdin="a long password\n")
    code, out, err = await shell.run("users", "reset-password", "vera", "--json")
    assert (code, out, "hint: give --yes" in err) == (1, "", True)  # it printed only `Aborted.`
    once = (await shell.json("users", "reset-password", "vera", "--yes"))["password"]
    assert "Choose a password now" in await shell.ok(*login, stdin=f"{once}\n", environment=away)
    code, _, err = await shell.run("sites", "list", environment=away)
    assert (code, "choose a password" in err and "hint: countline password" in err) == (1, True)
    await shell.ok("password", "--password-stdin", stdin="\nthree uncommon turnips\n", environment=away)
    await shell.ok("sites", "list", environment=away)
    await shell.ok("profile", "--display-name", "Vera B.", environment=away)
    assert "name: Vera B." in await shell.ok("profile", environment=away)
    assert len((await shell.json("sessions", "list", environment=away))["sessions"]) == 1
    assert "grpc" in await shell.ok("sessions", "list", "--user", "vera")
    await shell.ok("sessions", "end", "--all", "--yes", "--user", "vera")
    assert "No open sessions" in await shell.ok("sessions", "list", "--user", "vera")
    await shell.ok("users", "disable", "vera")
    assert "disabled" in await shell.ok("users", "list")
    code, _, err = await shell.run(*login, stdin="three uncommon turnips\n", environment=away)
    assert code == 1
    await shell.ok("users", "enable", "vera")
    await shell.ok("users", "unlock", "vera")
    await shell.ok(*login, stdin="three uncommon turnips\n", environment=away)


async def test_a_program_works_with_a_key_until_it_is_revoked(shell: Shell, site: str) -> None:
    account = await shell.json("service-accounts", "add", "ci", "--role", "operator", "--site", site, "--with-key")
    key = account["api_key"]["key"]
    program = {"PATH": os.environ["PATH"], "HOME": str(shell.folder / "ci"), "COUNTLINE_SERVER": shell.server}
    keyed = {**program, "COUNTLINE_API_KEY": key}
    assert (await shell.json("whoami", environment=keyed))["user"]["username"] == "ci"
    assert (await shell.json("--api-key", key, "sites", "list", environment=program))["sites"][0]["site_id"] == site
    code, _, err = await shell.run("users", "list", environment=keyed)
    assert (code, "'user:read' is missing" in err) == (1, True)
    assert "operator over site lab" in await shell.ok("service-accounts", "list")
    limited = (await shell.ok("keys", "create", "wall", "--role", "viewer")).splitlines()[0]
    assert "user:read" not in (await shell.json("--api-key", limited, "whoami"))["permissions"]
    listed = await shell.json("keys", "list")
    assert [(each["name"], each["key"]) for each in listed["api_keys"]] == [("wall", "")]
    rotated = await shell.json("keys", "rotate", account["api_key"]["key_id"], "--for", "ci", "--overlap", "1")
    await shell.ok("keys", "revoke", rotated["key"], "--for", "ci", "--yes")
    code, _, err = await shell.run("whoami", environment={**program, "COUNTLINE_API_KEY": rotated["key"]})
    assert (code, "the API key was revoked" in err) == (1, True)
    code, _, err = await shell.run("--api-key", key[:-1], "whoami", environment=program)
    assert (code, "incomplete or mistyped" in err) == (1, True)


async def test_a_command_acts_for_a_user_and_says_so(shell: Shell, site: str) -> None:
    new = ("users", "add", "vera", "--role", "operator", "--password-stdin")
    await shell.ok(*new, stdin="three uncommon turnips\n")
    acting = ("--act-for", "vera", "--reason", "ticket 12")
    assert "as admin, acting for vera (role operator: " in await shell.ok(*acting, "whoami")
    seen = await shell.json(*acting, "whoami")
    assert (seen["user"]["username"], seen["actor_name"]) == ("vera", "admin")
    await shell.ok(*acting, "sites", "set", site, "--title", "Laboratory")
    assert "as admin (" in await shell.ok("whoami")
    for words, problem in (
        (
            (*acting, "keys", "create", "mine"),
            "admin may not call /countline.v1.KeyService/CreateKey while acting for vera",
        ),
        ((*acting, "users", "list"), "admin, acting for vera, may not call"),
        (("--act-for", "nobody", "--reason", "x", "whoami"), "there is no user 'nobody'"),
        (("--act-for", "admin", "--reason", "x", "whoami"), "no user acts for itself"),
        (("--act-for", "vera", "whoami"), "--act-for and --reason belong together"),
    ):
        code, out, err = await shell.run(*words)
        assert (code > 0, problem in err, "eyJ" in out + err) == (True, True, False), err


async def test_a_file_of_roles_is_checked_with_its_places(shell: Shell, site: str) -> None:
    file = shell.folder / "roles.yaml"
    text = "roles:\n  eyes:\n    permissions: [camera:read]\ngrants:\n  - {role: eyes, site: lab}\n"
    file.write_text(text)
    assert "is valid" in await shell.ok("roles", "validate", str(file))
    file.write_text(text.replace("camera:read", "camera:eat").replace("lab", "moon"))
    code, out, _ = await shell.run("roles", "validate", str(file), "--json")
    found = json.loads(out)
    assert (code, found["valid"], [problem["line"] for problem in found["problems"]]) == (1, False, [2, 5])


async def test_the_problems_of_a_file_of_roles_are_printed_while_the_server_is_away(tmp_path: Path) -> None:
    shell = Shell({"auth": "127.0.0.1:1", "cameras": "127.0.0.1:1"}, tmp_path)
    file = tmp_path / "roles.yaml"
    file.write_text("roles:\n  eyes:\n    permissions: [camera:eat]\ngrants:\n  - {role: eyes, site: lab}\n")
    code, out, err = await shell.run("roles", "validate", str(file))
    assert (code > 0, "roles.yaml:2:" in out, "'camera:eat' is not a permission" in out) == (True, True, True)
    assert "error: " in err


async def test_the_file_of_the_first_password_says_when_it_was_changed(shell: Shell, control: Control) -> None:
    first = control.settings.admin_password_file
    await shell.ok("password", "--password-stdin", stdin=f"{ADMIN_PASSWORD}\nthree uncommon turnips\n")
    assert "was changed" in first.read_text()
    (shell.data / "credentials" / "admin-password").write_text(first.read_text())
    await shell.ok("whoami")  # the session goes on
    (shell.data / "run" / "cli-login.json").unlink()
    code, _, err = await shell.run("whoami")
    assert (code, "hint: countline login --username admin" in err) == (1, True)


async def test_a_server_that_is_away_is_an_error_with_a_hint(shell: Shell) -> None:
    (shell.data / "run" / "endpoints.json").write_text(
        json.dumps(dict.fromkeys(("auth", "cameras", "workers"), "127.0.0.1:1") | {"gateway": "http://x"})
    )
    code, out, err = await shell.run("cameras", "list")
    assert (code, out) == (1, "")
    assert "hint: see that the server runs" in err
    (shell.data / "run" / "endpoints.json").unlink()
    code, _, err = await shell.run("cameras", "list")
    assert code == 1
    assert "hint: start one: countline up" in err


@pytest.mark.parametrize(
    "words",
    [("cameras", "rm", "ghost"), ("sites", "rm", "ghost"), ("users", "rm", "ghost"), ("models", "delete", "ghost")],
)
async def test_a_thing_that_does_not_exist_is_reported_before_the_question(
    shell: Shell, words: tuple[str, ...]
) -> None:
    code, _, err = await shell.run(*words, stdin="y\n")
    assert (code, "Delete" in err) == (1, False)
    assert "error: " in err
    assert "ghost" in err


async def test_the_last_admin_cannot_be_removed_by_mistake(shell: Shell) -> None:
    code, _, err = await shell.run("users", "rm", "admin", "--yes")
    assert code == 1
    assert "is the last super-admin" in err
    assert "admin" in await shell.ok("users", "list")


async def test_a_shell_completes_commands_and_the_ids_of_cameras(shell: Shell, site: str) -> None:
    for camera_id in ("door-1", "door-2", "yard"):
        await shell.ok("cameras", "add", camera_id, "rtsp://camera.invalid/live")

    async def offered(words: str) -> list[str]:
        asked = {"_COUNTLINE_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
        code, out, _ = await shell.run(environment={**shell.environment, **asked})
        assert code == 0
        return out.split()

    assert await offered("countline camer") == ["cameras"]
    assert await offered("countline cameras sh") == ["show"]
    assert await offered("countline cameras show door") == ["door-1", "door-2"]
    (shell.data / "run" / "endpoints.json").unlink()
    assert await offered("countline cameras show door") == []


async def test_settings_are_listed_changed_and_reset_by_command(shell: Shell) -> None:
    listed = (await shell.json("settings", "list"))["settings"]
    assert {"rate_limit.user", "log_level.api", "session.days"} <= {each["name"] for each in listed}
    assert "session.days" in await shell.ok("settings", "list")
    assert "session.days set to 7" in await shell.ok("settings", "set", "session.days", "7")
    shown = await shell.ok("settings", "get", "session.days")
    assert "run time, by admin" in shown
    assert "1 to 365" in shown
    assert (await shell.json("settings", "reset", "session.days"))["source"] == "default"
    code, _, err = await shell.run("settings", "set", "session.days", "0")
    assert code != 0
    assert "use a whole number from 1 to 365" in err
    assert (await shell.run("settings", "get", "nothing"))[0] != 0


async def test_maintenance_is_switched_by_command_without_nats_and_names_its_reason(shell: Shell, site: str) -> None:
    assert await shell.ok("admin", "maintenance", "show") == "off\n"
    await shell.ok("admin", "maintenance", "on", "--reason", "backup until 22:00")
    assert "by admin: backup until 22:00" in await shell.ok("admin", "maintenance", "show")

    async def refused() -> bool:
        code, _, err = await shell.run("sites", "add", "other", "--time-zone", "UTC")
        return code != 0 and "backup until 22:00" in err

    await until(refused, 20)
    assert site in await shell.ok("sites", "list")
    await shell.ok("admin", "maintenance", "off")
    await until(lambda: _added(shell), 20)


async def _added(shell: Shell) -> bool:
    return (await shell.run("sites", "add", "other", "--time-zone", "UTC"))[0] == 0


async def test_a_second_factor_is_set_up_used_and_switched_off(shell: Shell) -> None:
    await shell.ok("users", "add", "vera", "--password-stdin", stdin="a long password\n")
    away = {name: value for name, value in shell.environment.items() if name != "COUNTLINE_DATA"}
    login = ("login", "--server", shell.server, "--username", "vera", "--password-stdin")
    await shell.ok(*login, stdin="a long password\n", environment=away)
    assert "off" in await shell.ok("auth", "factor", "status", environment=away)
    app, codes = await _enrolled(shell, away)
    assert len(codes) == 10
    code, out, err = await shell.run(*login, stdin="a long password\n", environment=away)
    assert (code, out, "the code is missing" in err, "--code" in err) == (1, "", True, True)
    code, _, err = await shell.run(*login, "--code", "000000", stdin="a long password\n", environment=away)
    assert (code, "the code is wrong" in err) == (1, True)
    assert "as vera" in await shell.ok(*login, "--code", app.now(), stdin="a long password\n", environment=away)
    assert "recovery codes left: 10" in await shell.ok("auth", "factor", "status", environment=away)
    renew = ("auth", "factor", "recovery-codes", "--password-stdin", "--code")
    new = await shell.json(*renew, codes[0], stdin="a long password\n", environment=away)
    off = ("auth", "factor", "disable", "--yes", "--password-stdin", "--code")
    code, _, err = await shell.run(*off, codes[1], stdin="a long password\n", environment=away)
    assert (code, "code" in err) == (1, True), "earlier recovery codes have ended"
    await shell.ok(*off, new["recovery_codes"][0], stdin="a long password\n", environment=away)
    await shell.ok(*login, stdin="a long password\n", environment=away)
    await _enrolled(shell, away)
    assert "Reset the second factor of vera" in await shell.ok("users", "reset-factor", "vera", "--yes")
    await shell.ok(*login, stdin="a long password\n", environment=away)


async def _enrolled(shell: Shell, environment: dict[str, str]) -> tuple[TOTP, list[str]]:
    """Set up a second factor as a program does that answers to what the command prints."""
    process = await asyncio.create_subprocess_exec(
        str(countline()), "auth", "factor", "enable", "--password-stdin",
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        env=environment, cwd=shell.folder,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stderr is not None
    process.stdin.write(b"a long password\n")
    async with asyncio.timeout(60):
        while not (line := (await process.stderr.readline()).decode()).startswith("Secret: "):
            assert line, "the command ended without a secret"
        app = TOTP(line.split()[1])
        # Of the step before, so that the present code is unused.
        out, err = await process.communicate(f"{app.at(int(time.time()) - 30)}\n".encode())
    assert process.returncode == 0, err
    return app, out.decode().split()


async def test_invites_are_created_listed_and_revoked(shell: Shell, site: str) -> None:
    code, _, err = await shell.run("invites", "create", "--role", "operator")
    assert (code, "settings set registration invite" in err) == (1, True)
    await shell.ok("settings", "set", "registration", "invite")
    out = await shell.ok("invites", "create", "--role", "operator", "--site", site, "--days", "2")
    assert out.startswith(f"{shell.endpoints['gateway']}/#invite=")
    (invite,) = (await shell.json("invites", "list"))["invites"]
    assert (invite["grants"][0]["site_id"], invite["created_by"], invite["token"]) == (site, "admin", "")
    assert "operator" in await shell.ok("invites", "list")
    await shell.ok("invites", "revoke", invite["invite_id"], "--yes")
    code, _, err = await shell.run("invites", "revoke", invite["invite_id"], "--yes")
    assert (code, "there is no invite" in err) == (1, True)
    assert "No invites found" in await shell.ok("invites", "list")
