"""`countline apply`."""

import os
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Final

import typer

from countline_common.cli.tools import DataOption, JsonOption, ServerOption, YesOption, ask, confirm, note, print_json
from countline_common.errors import CountlineError, InvalidInputError
from countline_common.files.text_files import read_text, reading
from countline_common.grpc.client import Client
from countline_control.cli.declarative.execution import Execution, Result, carry_out, checked, read_state
from countline_control.cli.declarative.printing import plan_json, print_outcome, print_plan
from countline_control.declarative.documents import FileProblem
from countline_control.declarative.planning import Action, Plan, plan_of
from countline_control.declarative.stating import FROM_ENV, FROM_FILE, Stated, Statement, read_statement, with_password

EXIT_CHANGES: Final = 4
"""Of `--dry-run`: something would change. 1 is an error, 2 a wrong command line."""
MOST_BYTES: Final = 16 << 20
_NOTHING_DONE: Final = "nothing was changed"


def apply(
    files: Annotated[
        list[Path], typer.Option("--file", "-f", help="YAML, JSON or CSV (.csv) of sites and cameras. Repeatable.")
    ],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the plan only. Exits with 4 if something would change.")
    ] = False,
    prune: Annotated[
        bool, typer.Option("--prune", help="Delete cameras of the files' sites that the files do not name.")
    ] = False,
    yes: YesOption = False,
    json: JsonOption = False,
    server: ServerOption = None,
    data: DataOption = None,
) -> None:
    """Bring sites and cameras to what files state, and print first what that means for counting.

    The service checks the whole plan before anything changes. A field that a file leaves out stays as it is.

    Example: countline apply -f site.yaml --dry-run
    """
    statement = _with_passwords(read_statement([(str(path), _text_of(path)) for path in files]))
    if statement.problems:
        _refuse(Plan((), 0, statement.problems), as_json=json)
    if prune and not statement.owned_sites:
        raise InvalidInputError("--prune needs a file that names a site", hint="name the site under `sites`")
    plan = ask(server, data, lambda client: _planned(client, statement, prune=prune))
    if plan.problems:
        _refuse(plan, as_json=json)
    if not json:
        print_plan(plan)
    if dry_run or not plan.changes:
        if json:
            print_json(plan_json(plan, None))
        raise typer.Exit(EXIT_CHANGES if dry_run and plan.changes else 0)
    _confirm(plan, yes=yes)
    _carry_out(plan, server, data, as_json=json)


async def _planned(client: Client, statement: Statement, *, prune: bool) -> Plan:
    state = await read_state(client)
    plan = plan_of(statement, state, time.time(), prune=prune)
    return plan if plan.problems else await checked(client, plan, state)


def _text_of(path: Path) -> str:
    with reading(path):
        size = path.stat().st_size
    if size > MOST_BYTES:
        raise InvalidInputError(
            f"{path} has {size >> 20} MiB; {MOST_BYTES >> 20} MiB is the limit", hint="split it, a file a site"
        )
    return read_text(path)


def _refuse(plan: Plan, *, as_json: bool) -> None:
    """Print what is wrong, and end the command."""
    if as_json:
        print_json(plan_json(Plan((), plan.unchanged, plan.problems), None))
    else:
        for problem in plan.problems:
            note(str(problem))
    number = len(plan.problems)
    raise InvalidInputError(
        f"the files cannot be applied: {number} problem{'s' if number > 1 else ''}; {_NOTHING_DONE}",
        hint="correct the files and apply them again",
    )


def _confirm(plan: Plan, *, yes: bool) -> None:
    """Ask before a plan that deletes or retires cameras."""
    deleted = [change.key for change in plan.changes if change.action is Action.DELETE]
    retired = [change.key for change in plan.changes if change.is_final and change.action is not Action.DELETE]
    parts = [f"delete {_cameras(deleted)}" if deleted else "", f"retire {_cameras(retired)}" if retired else ""]
    question = " and ".join(part for part in parts if part)
    if question:
        confirm(f"{question[0].upper()}{question[1:]}? Counts and history stay.", yes=yes, check=lambda: None)


def _cameras(ids: Sequence[str]) -> str:
    return f"{len(ids)} camera{'s' if len(ids) > 1 else ''} ({', '.join(ids[:5])}{', …' if len(ids) > 5 else ''})"


def _carry_out(plan: Plan, server: str | None, data: Path | None, *, as_json: bool) -> None:
    execution = Execution.of(plan)
    try:
        ask(server, data, lambda client: carry_out(client, execution))
    finally:  # also after Ctrl-C
        if as_json:
            print_json(plan_json(plan, execution))
        else:
            print_outcome(execution)
    if len(execution.having(Result.APPLIED)) < len(execution.outcomes):
        raise InvalidInputError(
            "not all changes were applied",
            hint="apply the files again: what is done stays, and the rest is planned anew",
        )


# Passwords -----------------------------------------------------------------------------------------------------------


def _with_passwords(statement: Statement) -> Statement:
    """Return the statement with the passwords that it refers to in the addresses of its cameras."""
    problems = list(statement.problems)
    cameras = {}
    for camera_id, stated in statement.cameras.items():
        cameras[camera_id] = stated
        if not problems and stated.more.keys() & {FROM_ENV, FROM_FILE}:
            try:
                url = with_password(stated.values["stream_url"], _password(stated))
                cameras[camera_id] = replace(stated, values={**stated.values, "stream_url": url})
            except CountlineError as error:
                problems.append(_located(stated, error))
    return replace(statement, cameras=cameras, problems=tuple(problems))


def _located(stated: Stated, error: CountlineError) -> FileProblem:
    name = FROM_ENV if FROM_ENV in stated.more else FROM_FILE
    return stated.problem(f"`{name}`: {error.message}; {error.hint}", name)


def _password(stated: Stated) -> str:
    if FROM_FILE in stated.more:
        path = Path(stated.file).parent / Path(stated.more[FROM_FILE]).expanduser()
        password = read_text(path).removesuffix("\n")
        name = str(path)
    else:
        name = stated.more[FROM_ENV]
        password = os.environ.get(name, "")
    if not password or "\n" in password:
        raise InvalidInputError(f"{name[:80]} holds no password", hint="set it to one line")
    return password
