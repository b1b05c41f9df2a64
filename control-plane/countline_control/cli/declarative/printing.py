"""Prints a plan and what became of it."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, Final

from countline_common.cli.terminal import Styled, Terminal
from countline_common.cli.tools import note
from countline_control.cameras.events.consequences import Consequence, Effect
from countline_control.cli.declarative.execution import Execution, Outcome, Result
from countline_control.declarative.planning import Action, Change, Difference, Plan

_COLOURS: Final = {Action.CREATE: "green", Action.UPDATE: "yellow", Action.DELETE: "red"}
_HARMLESS: Final = (Effect.START, Effect.NO_GAP, Effect.HISTORY)


def print_plan(plan: Plan) -> None:
    """Print each change with its differences and consequences, and a summary."""
    terminal = Terminal()
    for change in plan.changes:
        terminal.print(
            Styled.assemble(f"{change.kind} {change.key}: ", (change.action, _COLOURS[change.action])), soft_wrap=True
        )
        for line in (*_differences(change), *map(_consequence, change.consequences)):
            terminal.print(line, soft_wrap=True)
    terminal.print(summary(plan), soft_wrap=True)


def _differences(change: Change) -> Iterator[Styled]:
    for difference in change.differences:
        if isinstance(difference.before, list) or isinstance(difference.after, list):
            yield from _items(difference)
        elif change.action is Action.CREATE:
            yield Styled(f"  + {difference.field}: {_shown(difference.after)}", style="green")
        else:
            line = Styled(f"  ~ {difference.field}: ").append(_shown(difference.before), "red")
            yield line.append(" → ").append(_shown(difference.after), "green")


def _items(difference: Difference) -> Iterator[Styled]:
    before, after = (value if isinstance(value, list) else [] for value in (difference.before, difference.after))
    for sign, colour, items, others in (("-", "red", before, after), ("+", "green", after, before)):
        for item in items:
            if item not in others:
                yield Styled(f"  {sign} {difference.field}: {item}", style=colour)


def _shown(value: Any) -> str:
    return "none" if value in (None, "") else str(value)


def _consequence(consequence: Consequence) -> Styled:
    style = "default" if consequence.effect in _HARMLESS else "bold yellow"
    return Styled("    ").append(f"! {consequence.text}", style)


def summary(plan: Plan) -> str:
    """Return the numbers of a plan in a line or two."""
    counts = Counter(change.action for change in plan.changes)
    parts = [f"{counts[action]} to {action}" for action in Action]
    text = f"Plan: {', '.join(parts)}, {plan.unchanged} unchanged."
    effects = [each for change in plan.changes for each in change.consequences]
    found = Counter(each.effect for each in effects)
    lost = sum(each.lost_s or 0.0 for each in effects)
    told = [
        (found[Effect.START], "{} cameras start"),
        (found[Effect.STOP], "{} stop"),
        (found[Effect.NEW_VERSION], "{} lines and zones get a version"),
        (found[Effect.NEW_RUN], "{} get a new run"),
        (found[Effect.RECOUNT], "{} files are counted again"),
    ]
    parts = [phrase.format(number) for number, phrase in told if number]
    if lost:
        parts.append(f"up to {lost:g} s of coverage are lost in all")
    return f"{text}\nConsequences: {', '.join(parts)}." if parts else text


def print_outcome(execution: Execution) -> None:
    """Say on standard error what was done and what was not."""
    done, not_done = execution.having(Result.APPLIED), execution.having(Result.FAILED)
    unknown, waiting = execution.having(Result.UNKNOWN), execution.having(Result.NOT_TRIED)
    note(f"Applied {len(done)} of {len(execution.outcomes)} changes.")
    if not (not_done or unknown or waiting):
        return
    _list("Applied", done)
    for outcome in (*not_done, *unknown):
        word = "Failed" if outcome.result is Result.FAILED else "Not known whether applied"
        error = outcome.error
        hint = f"; {error.hint}" if error is not None and error.hint else ""
        note(f"{word}: {_name(outcome)}{f': {error.message}' if error is not None else ''}{hint}")
    _list("Not tried", waiting)


def _list(word: str, outcomes: Sequence[Outcome]) -> None:
    if outcomes:
        note(f"{word}: {', '.join(map(_name, outcomes))}")


def _name(outcome: Outcome) -> str:
    return f"{outcome.change.action} {outcome.change.kind} {outcome.change.key}"


def plan_json(plan: Plan, execution: Execution | None) -> dict[str, Any]:
    """Return a plan, and the outcomes if it was carried out, for programs."""
    outcomes = {id(outcome.change): outcome for outcome in execution.outcomes} if execution else {}
    return {
        "changes": [_change_json(change, outcomes.get(id(change))) for change in plan.changes],
        "unchanged": plan.unchanged,
        "problems": [{"file": each.file, "line": each.line, "message": each.message} for each in plan.problems],
    }


def _change_json(change: Change, outcome: Outcome | None) -> dict[str, Any]:
    found: dict[str, Any] = {
        "kind": change.kind,
        "id": change.key,
        "action": change.action.value,
        "differences": [
            {"field": each.field, "before": each.before, "after": each.after} for each in change.differences
        ],
        "consequences": [
            {"effect": each.effect.value, "text": each.text, "coverage_lost_s": each.lost_s}
            for each in change.consequences
        ],
    }
    if outcome is not None:
        found["result"] = outcome.result.value
        if outcome.error is not None:
            found["error"] = {"code": outcome.error.code, "message": outcome.error.message, "hint": outcome.error.hint}
    return found
