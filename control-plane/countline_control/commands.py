"""The commands that this room adds to `countline`; imports nothing heavy, so that `--help` stays quick."""

from typing import Final

from countline_common.cli.app import LazyCommand

_CLI: Final = "countline_control.cli"


def _command(name: str, target: str, text: str) -> LazyCommand:
    return LazyCommand(name, text, f"{_CLI}.{target}", "control")


COMMANDS: list[LazyCommand] = [
    _command("serve", "serve:serve", "Serve the control-plane: auth, cameras, models, workers."),
    _command("login", "login:login", "Log in to a server."),
    _command("logout", "login:logout", "End the login."),
    _command("whoami", "login:whoami", "Show who is logged in, and where."),
    _command("sites", "sites:app", "The places where cameras are."),
    _command("cameras", "cameras:app", "What is watched and counted."),
    _command("workers", "workers:app", "The processes of the data plane."),
    _command("users", "users:app", "Who may log in."),
    _command("tokens", "tokens:app", "Tokens for workers and services that run elsewhere."),
]
