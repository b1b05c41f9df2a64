"""`countline selftest`: checks the counting rule against scenes with known counts."""

import json
from typing import Annotated, Any

import typer

from countline_common.cli.tables import new_table
from countline_common.cli.terminal import Styled, Terminal, progress_bar
from countline_common.cli.tools import say
from countline_pipelines.selftest.cases import all_cases
from countline_pipelines.selftest.run import FORMS, CaseOutcome, Counts, run_cases


def selftest(
    quick: Annotated[
        bool, typer.Option(help="Count each case only as written, not also mirrored, scaled and delayed.")
    ] = False,
    json_: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Count scenes whose true counts are known. Exit with status 1 if a count is wrong.

    Example: countline selftest --quick
    """
    forms = FORMS[:1] if quick else FORMS
    with progress_bar() as bar:
        outcomes = run_cases(bar.track(all_cases(), description="counting"), forms)
    if json_:
        print(json.dumps(_as_dict(outcomes)))
    else:
        _show(outcomes, len(forms))
    if not all(outcome.passed for outcome in outcomes):
        raise typer.Exit(1)


def _as_dict(outcomes: list[CaseOutcome]) -> dict[str, Any]:
    return {
        "passed": sum(outcome.passed for outcome in outcomes),
        "failed": sum(not outcome.passed for outcome in outcomes),
        "forms": [form.name for form in FORMS],
        "cases": [
            {
                "name": outcome.case.name,
                "remark": outcome.case.remark,
                "true": {name: list(pair) for name, pair in outcome.case.expect.items()},
                "counted": {name: list(pair) for name, pair in outcome.counted.items()},
                "passed": outcome.passed,
                "failed_forms": list(outcome.failed_forms),
            }
            for outcome in outcomes
        ],
    }


def _show(outcomes: list[CaseOutcome], forms: int) -> None:
    table = new_table("CASE", "REMARK", "TRUE", "COUNTED", "RESULT")
    for outcome in outcomes:
        wrong = f"wrong: {', '.join(outcome.failed_forms)}"
        verdict = Styled("ok", style="green") if outcome.passed else Styled(wrong, style="red")
        table.add_row(
            outcome.case.name, outcome.case.remark, _pairs(outcome.case.expect), _pairs(outcome.counted), verdict
        )
    Terminal().print(table)
    right = sum(outcome.passed for outcome in outcomes)
    say(
        f"{right} of {len(outcomes)} cases right, each in up to {forms} forms; "
        "counts are in/out, entries/exits for zones"
    )


def _pairs(counts: Counts) -> str:
    pairs = [f"{entered}/{left}" for entered, left in counts.values()]
    return (
        pairs[0] if len(pairs) == 1 else ", ".join(f"{name} {pair}" for name, pair in zip(counts, pairs, strict=True))
    )
