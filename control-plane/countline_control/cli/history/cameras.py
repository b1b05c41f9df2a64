"""`countline cameras`: all commands of cameras, those about their past included."""

from countline_control.cli.camera_life import app
from countline_control.cli.history.changes import history
from countline_control.cli.history.rebuild import rebuild

app.command("history")(history)
app.command("rebuild")(rebuild)

__all__ = ["app"]
