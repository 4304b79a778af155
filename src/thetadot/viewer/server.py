"""The server of the viewer: its pages, on loopback unless the user says otherwise."""

import errno
import logging
import signal
import socket
import sys
import webbrowser
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import panel as pn
from bokeh.server.server import Server
from tornado.ioloop import IOLoop
from tornado.web import RequestHandler, StaticFileHandler

from thetadot.errors import ThetadotError
from thetadot.viewer import page
from thetadot.viewer.catalogue import Catalogue
from thetadot.viewer.compare_page import compare_page
from thetadot.viewer.errors import ViewerError
from thetadot.viewer.form_page import new_run_page
from thetadot.viewer.guard import Guard, check_address, headers
from thetadot.viewer.lenses_page import lenses_page
from thetadot.viewer.panes import Text
from thetadot.viewer.run_page import RunPage
from thetadot.viewer.runs_page import runs_page

LOOPBACK, PORT = "127.0.0.1", 5007
_MESSAGE_BYTES = 64 * 2**20


class _Style(RequestHandler):
    """The style sheet, put together from the report's and the viewer's."""

    def get(self) -> None:
        self.set_header("Content-Type", "text/css; charset=utf-8")
        self.write(page.style())


def make_server(root: Path, *, port: int = 0, address: str = LOOPBACK, token: str | None = None) -> Server:
    """The server, not yet started.

    Arguments:
        root: the directory below which runs lie.
        port: 0 takes any that is free.
        address: where it listens.
        token: what a visitor must know; needed beyond loopback.

    Raises:
        ViewerError: the token is missing or weak, or the port is taken.
    """
    check_address(address, token)
    pn.extension(notifications=False)
    # It warns of origins that are not checked, which the cookie makes up for.
    logging.getLogger("bokeh.server.util").setLevel(logging.ERROR)
    catalogue = Catalogue(root)
    guard = Guard(token)
    pages: Any = {
        "/": _page("Runs", "Runs", lambda asked: runs_page(catalogue, asked("below"))),
        "/run": _page("Run", "", lambda asked: _run(catalogue, asked)),
        "/lenses": _page("Lenses", "", lambda asked: lenses_page(catalogue.run(asked("run")), asked("run"))),
        "/compare": _page(
            "Compare", "Compare", lambda asked: compare_page(catalogue, asked("a"), asked("b"))
        ),
        "/new": _page(
            "New run", "New run", lambda asked: _new(catalogue.root, asked("from"), files=token is None)
        ),
    }
    port = _free(address, port)
    names = [f"{name}:{port}" for name in ("localhost", "127.0.0.1")]
    server = pn.io.server.get_server(
        pages,
        port=port,
        address=address,
        # With a token the cookie, which no other site's request carries, is what keeps others out.
        websocket_origin=names if token is None else "*",
        auth_provider=guard,
        extra_patterns=[
            (r"/assets/page\.css", _Style),
            (r"/assets/(\w+\.js)", StaticFileHandler, {"path": str(page.ASSETS)}),
        ],
        location=True,
        websocket_max_message_size=_MESSAGE_BYTES,
        check_unused_sessions_milliseconds=5000,
        unused_session_lifetime_milliseconds=60000,
    )
    server._tornado.add_transform(headers(page.NONCE))
    return server


def _run(catalogue: Catalogue, asked: Callable[[str], str]) -> Any:
    name, member = asked("run"), asked("member")
    return RunPage(catalogue.run(name), name, int(member) if member.isdecimal() else 0).view


def _new(root: Path, start_from: str, files: bool) -> Any:
    location = pn.state.location

    def follow(name: str) -> None:
        if location is not None:
            location.param.update(pathname="/run", search="?" + urlencode({"run": name}), reload=True)

    form = new_run_page(root, follow, start_from or None, files=files)
    heading = Text("heading.html.j2", title="New run")
    return pn.Column(heading.pane, form, sizing_mode="stretch_width")


def _page(title: str, where: str, make: Callable[[Callable[[str], str]], Any]) -> Callable[[], Any]:
    """A page as an application: made anew for every visitor, and an error of ours told as text."""

    def application() -> Any:
        document = pn.state.curdoc
        assert document is not None
        document.template, variables = page.frame(title, where)
        document.template_variables.update(variables)
        document.title = f"{title} · thetadot"

        def asked(name: str) -> str:
            given = pn.state.session_args.get(name, [b""])
            return given[0].decode("utf-8", "replace")

        try:
            return make(asked)
        except ThetadotError as error:
            return Text("wrong.html.j2", message=str(error)).pane

    return application


def _free(address: str, port: int) -> int:
    """The port, or one that is free for 0; origins are compared with it, so it must be known beforehand."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise ViewerError(
                    f"port {port} of {address} is taken: choose another with --port, or --port 0"
                ) from None
            raise ViewerError(
                f"cannot listen on {address}:{port} ({error.strerror}): give an address of this machine and a free port"
            ) from None
        return int(probe.getsockname()[1])


def view(
    place: str | Path = "runs",
    *,
    port: int | None = None,
    address: str = LOOPBACK,
    token: str | None = None,
    browser: bool = True,
    say: Callable[[str], Any] = print,
) -> None:
    """Serve the viewer until it is interrupted.

    Arguments:
        place: a run, or a directory below which runs lie.
        port: where; by default 5007, or any free one if that is taken.
        address: the address to listen on; loopback by default.
        token: what visitors must know, at least 16 characters; needed for any other address.
        browser: open the page.
        say: takes the line with the address.

    Raises:
        ViewerError: there is no such directory, or the address cannot be used as asked.
    """
    root, path = _start_page(Path(place))
    try:
        server = make_server(root, port=PORT if port is None else port, address=address, token=token)
    except ViewerError:
        if port is not None or address != LOOPBACK:
            raise
        server = make_server(root, port=0, address=address, token=token)
    shown = {LOOPBACK: "localhost", "0.0.0.0": socket.gethostname()}.get(address, address)
    here = f"http://{f'[{shown}]' if ':' in shown else shown}:{server.port}"
    server.start()
    say(f"viewer of {root}: {here}{path}" + ("" if token is None else "  (asks for the token)"))
    say("Ctrl-C ends it; runs that were started here stop with it, and can be resumed.")
    if browser:
        webbrowser.open(here + path)
    loop = IOLoop.current()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: loop.add_callback_from_signal(loop.stop))
    loop.start()
    server.stop()
    sys.stdout.flush()


def _start_page(place: Path) -> tuple[Path, str]:
    """The directory to serve, and the page to begin with."""
    if not place.is_dir():
        raise ViewerError(
            f"{place} is not a directory: give a run, or the directory that holds runs "
            "(`thetadot run quickstart` makes runs/quickstart)"
        )
    if (place / "manifest.json").is_file():
        return place.resolve().parent, "/run?" + urlencode({"run": place.resolve().name})
    if (place / "sweep.json").is_file():
        return place.resolve().parent, "/?" + urlencode({"below": place.resolve().name})
    return place.resolve(), "/"
