"""The group `countline models`; each command lives in a module of its own. `countline_demo.cli.app` adds the demo's."""

import typer

from countline_models.cli.bench import bench
from countline_models.cli.deploy import deploy
from countline_models.cli.fusing import add, check, fuse, heads, prepare
from countline_models.cli.pull import pull
from countline_models.cli.quantize import quantize
from countline_models.cli.service import delete, list_, promote, retire, rollback, show, tune
from countline_models.cli.trials import canary, shadow, trial, trials

app = typer.Typer(
    name="models", help="Make, check and deploy detectors; render scenes.", add_completion=False, no_args_is_help=True
)
app.command("pull")(pull)
app.command("heads")(heads)
app.command("fuse")(fuse)
app.command("check")(check)
app.command("add")(add)
app.command("prepare")(prepare)
app.command("quantize")(quantize)
app.command("bench")(bench)
app.command("tune")(tune)
app.command("deploy")(deploy)
app.command("list")(list_)
app.command("show")(show)
app.command("promote")(promote)
app.command("rollback")(rollback)
app.command("retire")(retire)
app.command("delete")(delete)
app.command("shadow")(shadow)
app.command("canary")(canary)
app.command("trials")(trials)
app.command("trial")(trial)
