"""The commands that this room adds to `countline`. Imports nothing heavy, so that `--help` stays fast."""

from typing import Final

from countline_common.cli.app import LazyCommand

_CLI: Final = "countline_control.cli"


def _command(name: str, target: str, text: str) -> LazyCommand:
    return LazyCommand(name, text, f"{_CLI}.{target}", "control")


COMMANDS: list[LazyCommand] = [
    _command("serve", "serve:serve", "Run the services of the control-plane."),
    _command("context", "contexts:app", "Name servers, and choose the one that commands use."),
    _command("login", "identity.login:login", "Log in to a server."),
    _command("logout", "identity.login:logout", "Log out of a server."),
    _command("whoami", "identity.login:whoami", "Show the current login and its permissions."),
    _command("password", "identity.own:password", "Change one's own password."),
    _command("profile", "identity.own:profile", "Show or change one's own profile."),
    _command("sessions", "identity.own:app", "List and end sessions."),
    _command("apply", "declarative.apply:apply", "Bring sites and cameras to what files state."),
    _command("sites", "declarative.export:app", "Manage sites: places with a time zone."),
    _command("cameras", "history.cameras:app", "Manage cameras."),
    _command("workers", "workers:app", "Inspect and drain workers: the processes that count."),
    _command("check", "monitoring.check:app", "Check a running Countline, for Nagios and other monitoring systems."),
    _command("support", "support.gather:app", "Gather versions, health and logs for those who look for a fault."),
    _command("top", "monitoring.top.top:top", "Watch cameras and workers live."),
    _command("users", "identity.identities:app", "Manage users."),
    _command("invites", "identity.invites:app", "Manage invites, with which people create their own accounts."),
    _command("auth", "identity.explain:app", "Explain who may do what, and manage your second factor."),
    _command("roles", "identity.roles:app", "Manage roles: what users may do."),
    _command("audit", "audit:app", "List, export and verify the audit: who changed what."),
    _command("settings", "administration.settings:app", "Show and change settings while the system runs."),
    _command("admin", "administration.admin:app", "Maintain the running system."),
    _command("logs", "administration.logs:logs", "Show recent log lines of all parts."),
    _command("certs", "certs:app", "Make and inspect the certificates that the parts use for TLS."),
    _command("secrets", "secrets:app", "Rotate the keys that encrypt stored secrets."),
    _command("keys", "identity.keys:app", "Manage API keys, with which programs call Countline."),
    _command("service-accounts", "identity.keys:accounts", "Manage service accounts: users of programs, with keys."),
]
