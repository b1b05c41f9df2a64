"""The group `countline models` with the demo's commands added.

`countline_models` may not import the demo's training, so the group is completed here, one layer above both.
"""

from countline_demo.cli.evaluate import evaluate_demo
from countline_demo.cli.scenes import render, render_demo
from countline_models.cli.app import app

__all__ = ["app"]

app.command("render-demo")(render_demo)
app.command("render")(render)
app.command("evaluate-demo")(evaluate_demo)
