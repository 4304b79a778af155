"""Who may look: only this machine, or whoever holds the token; and what a page may load."""

import hmac
import secrets
from typing import Any
from urllib.parse import urlsplit

from bokeh.server.auth_provider import AuthProvider
from tornado.web import HTTPError, OutputTransform, RequestHandler

from thetadot.viewer.errors import ViewerError
from thetadot.viewer.page import render

LEAST_TOKEN = 16
_COOKIE = "thetadot"
_LOOPBACK = ("127.0.0.1", "localhost")


def check_address(address: str, token: str | None) -> None:
    """Refuse to listen beyond this machine without a token, or with one that can be guessed.

    Raises:
        ViewerError: the token is missing or too short.
    """
    if token is None and address not in _LOOPBACK:
        raise ViewerError(
            f"--address {address} shows your runs to other machines: give a token of at least {LEAST_TOKEN} "
            f"characters that they must know, e.g. --token {secrets.token_hex(16)}"
        )
    if token is not None and (len(token) < LEAST_TOKEN or not token.isascii()):
        raise ViewerError(
            f"the token has {len(token)} characters; expected at least {LEAST_TOKEN} of ASCII, "
            f"e.g. --token {secrets.token_hex(16)}"
        )


class Guard(AuthProvider):
    """Lets a request pass if it names this machine, or carries the token.

    Without a token a request must be for a name of the loopback interface, so that a foreign page whose name
    was pointed at this machine gets nothing. With one, a browser shows the token once and then a cookie that
    is derived from it by a secret of this process.

    Arguments:
        token: what a visitor must know; None if only this machine can reach the server.
    """

    def __init__(self, token: str | None):
        self._token = token
        self._pass = hmac.digest(secrets.token_bytes(32), (token or "").encode(), "sha256").hex()
        super().__init__()

    def knows(self, token: str) -> bool:
        """Whether a text is the token, in a time that does not depend on where they differ."""
        return self._token is not None and hmac.compare_digest(token.encode(), self._token.encode())

    def admit(self, handler: RequestHandler) -> None:
        """Give a browser the cookie."""
        handler.set_cookie(_COOKIE, self._pass, httponly=True, samesite="Strict", path="/")

    @property
    def get_user(self) -> Any:
        return self._user

    def _user(self, handler: RequestHandler) -> str | None:
        if self._token is None:
            name = urlsplit(f"//{handler.request.host}").hostname
            if name not in _LOOPBACK:
                raise HTTPError(403, "this viewer answers to localhost only")
            return "this machine"
        shown = handler.get_cookie(_COOKIE, "") or ""
        return "holder of the token" if hmac.compare_digest(shown.encode(), self._pass.encode()) else None

    @property
    def get_user_async(self) -> None:
        return None

    @property
    def get_login_url(self) -> None:
        return None

    @property
    def login_url(self) -> str:
        return "/login"

    @property
    def login_handler(self) -> type[RequestHandler]:
        guard = self

        class Login(RequestHandler):
            """Asks for the token, and hands out the cookie for it."""

            def get(self) -> None:
                given = self.get_query_argument("token", "")
                self._answer(given) if given else self._ask()

            def post(self) -> None:
                self._answer(self.get_body_argument("token", ""))

            def _answer(self, given: str) -> None:
                if not guard.knows(given):
                    self.set_status(403)
                    return self._ask("This is not the token. Whoever started the viewer chose it.")
                guard.admit(self)
                wanted = urlsplit(self.get_query_argument("next", "/"))
                path = "/" + wanted.path.lstrip("/\\")
                self.redirect(path + (f"?{wanted.query}" if wanted.query else ""))

            def _ask(self, wrong: str = "") -> None:
                self.write(render("login.html.j2", wrong=wrong))

        return Login

    @property
    def logout_handler(self) -> None:
        return None

    @property
    def logout_url(self) -> None:
        return None


def headers(nonce: str) -> type[OutputTransform]:
    """What every answer says: what the page may load (scripts of this server only, and inline ones that carry
    the nonce), that nobody may frame it, and that addresses, which may hold names of runs, stay here."""
    policy = (
        f"default-src 'none'; script-src 'self' 'nonce-{nonce}'; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self'; form-action 'self'; "
        "base-uri 'none'; frame-ancestors 'none'"
    )
    fixed = {
        "Content-Security-Policy": policy,
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "same-origin",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
    }

    class Headers(OutputTransform):
        def transform_first_chunk(self, status_code: int, headers: Any, chunk: bytes, finishing: bool) -> Any:
            for name, value in fixed.items():
                headers[name] = value
            return status_code, headers, chunk

    return Headers
