"""The group `countline models`: its commands live in modules of their own and are put together here."""

import typer

from countline_models.cli.bench import bench
from countline_models.cli.deploy import deploy
from countline_models.cli.fusing import add, check, fuse, heads, prepare
from countline_models.cli.pull import pull
from countline_models.cli.quantize import quantize
from countline_models.cli.scenes import render, render_demo
from countline_models.cli.service import delete, list_, promote, retire, rollback, show, tune
from countline_models.cli.train import evaluate_demo
from countline_models.cli.trials import canary, shadow, trial, trials

app = typer.Typer(
    name="models", help="Make, check and deploy detectors; render scenes.", add_completion=False, no_args_is_help=True
)
app.command("fuse")(fuse)
app.command("heads")(heads)
app.command("check")(check)
app.command("add")(add)
app.command("prepare")(prepare)
app.command("bench")(bench)
app.command("quantize")(quantize)
app.command("render-demo")(render_demo)
app.command("render")(render)
app.command("evaluate-demo")(evaluate_demo)
app.command("pull")(pull)
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
app.command("tune")(tune)
