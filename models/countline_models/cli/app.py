"""The group `countline models`: its commands live in modules of their own and are put together here."""

import typer

from countline_models.cli.fusing import add, check, fuse, heads, prepare
from countline_models.cli.pull import pull
from countline_models.cli.scenes import render, render_demo
from countline_models.cli.train import evaluate_demo

app = typer.Typer(name="models", help="Make, check and deploy detectors; render scenes.", no_args_is_help=True)
app.command("fuse")(fuse)
app.command("heads")(heads)
app.command("check")(check)
app.command("add")(add)
app.command("prepare")(prepare)
app.command("render-demo")(render_demo)
app.command("render")(render)
app.command("evaluate-demo")(evaluate_demo)
app.command("pull")(pull)
