"""The command that serves the viewer."""

from pathlib import Path
from typing import Annotated

import typer

from thetadot.cli.frame import command, print_rich


@command("thetadot view runs/quickstart")
def view(
    place: Annotated[
        Path, typer.Argument(metavar="RUN_OR_DIR", help="A run, a sweep, or the directory of runs.")
    ] = Path("runs"),
    port: Annotated[
        int | None,
        typer.Option(help="Port (default 5007, or any free one).", min=0, max=65535, show_default=False),
    ] = None,
    address: Annotated[
        str, typer.Option(help="Address to listen on; any but loopback needs --token.")
    ] = "127.0.0.1",
    token: Annotated[
        str | None,
        typer.Option(
            help="What visitors must know, 16 characters or more.",
            envvar="THETADOT_TOKEN",
            show_default=False,
            show_envvar=True,
        ),
    ] = None,
    browser: Annotated[bool, typer.Option(help="Open the page in the browser.")] = True,
) -> None:
    """Show runs in the browser while they are computed.

    Every figure at the moment of one slider, two runs side by side, what the lenses found, a form for new runs.
    Pages are served to this machine only, until Ctrl-C; on a machine that you share, add --token. To look at a run
    on another machine, forward the port: ssh -L 5007:localhost:5007 HOST, and there: thetadot view --no-browser.
    """
    from thetadot import viewer

    viewer.view(place, port=port, address=address, token=token, browser=browser, say=print_rich)
