"""The command line. Commands import what they need when they are called, so that `--help` stays fast."""

from thetadot.cli import running, reproducing, viewing, showing  # noqa: F401, I001  (they register their commands)
from thetadot.cli.frame import app


def main() -> None:
    """Entry point of the command `thetadot`."""
    app(prog_name="thetadot")
