"""Who may look, and what a page may do."""

import re
import socket
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
from http.cookiejar import CookieJar

import pytest

TOKEN = "a-token-of-some-length"


def fetch(address, headers=(), data=None, jar=None):
    """(status, headers, text) of a request, redirections followed."""
    opener = urllib.request.build_opener(
        urllib.request.HTTPCookieProcessor(CookieJar() if jar is None else jar)
    )
    request = urllib.request.Request(address, headers=dict(headers), data=data)
    try:
        with opener.open(request, timeout=60) as answer:
            return answer.status, answer.headers, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read().decode()


def upgrade(address, **headers):
    """Status of a request to open the page's websocket."""
    parts = urllib.parse.urlsplit(address)
    lines = {
        "Host": parts.netloc, "Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==", **headers,
    }  # fmt: skip
    with socket.create_connection((parts.hostname, parts.port), timeout=60) as link:
        told = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        link.sendall(f"GET /ws HTTP/1.1\r\n{told}\r\n".encode())
        return int(link.recv(64).split()[1])


@pytest.fixture(scope="session")
def locked(serve, runs):
    """A viewer that asks for a token."""
    return serve(runs, "--token", TOKEN)


def test_every_page_forbids_foreign_and_inline_scripts_frames_and_evaluation(viewer):
    for path in ("/", "/run?run=curve", "/compare", "/new", "/assets/viewer.js", "/nowhere"):
        status, headers, text = fetch(viewer.at(path))
        assert status == (404 if path == "/nowhere" else 200)
        policy = dict(part.strip().split(" ", 1) for part in headers["Content-Security-Policy"].split(";"))
        assert policy["default-src"] == "'none'"
        assert "unsafe" not in policy["script-src"]
        assert policy["frame-ancestors"] == "'none'"
        assert headers["X-Content-Type-Options"] == "nosniff"
        nonce = re.search(r"'nonce-([^']+)'", policy["script-src"])[1]
        assert all(
            f'nonce="{nonce}"' in tag or 'src="assets/' in tag for tag in re.findall(r"<script[^>]*>", text)
        )


def test_without_a_token_it_answers_to_names_of_this_machine_only(viewer):
    port = urllib.parse.urlsplit(viewer.address).port
    assert fetch(viewer.address, {"Host": f"localhost:{port}"})[0] == 200
    assert fetch(viewer.address, {"Host": f"127.0.0.1:{port}"})[0] == 200
    for host in ("rebound.example", f"rebound.example:{port}", "localhost.rebound.example"):
        status, _, text = fetch(viewer.address, {"Host": host})
        assert status == 403
        assert "curve" not in text


def test_a_websocket_is_refused_to_pages_of_other_origins(viewer):
    assert upgrade(viewer.address, Origin="http://evil.example") == 403


def test_with_a_token_nothing_is_shown_before_it_is_given(locked):
    for path in ("/", "/run?run=curve", "/lenses?run=curve", "/new", "/metadata", "/autoload.js"):
        status, _, text = fetch(locked.at(path))
        assert "asks for its token" in text, (path, status)
        assert "curve" not in text.replace("run=curve", "")
    assert upgrade(locked.address, Origin=locked.address) == 403


def test_the_token_opens_the_page_that_was_asked_for_and_stays_in_a_strict_cookie(locked):
    jar = CookieJar()
    form = urllib.parse.urlencode({"token": TOKEN}).encode()
    status, _, text = fetch(locked.at("/login?next=%2Frun%3Frun%3Dcurve"), data=form, jar=jar)
    assert status == 200
    assert "<title>Run" in text
    cookie = next(iter(jar))
    assert TOKEN not in str(cookie.value)
    assert {"HttpOnly": None, "SameSite": "Strict"}.items() <= cookie._rest.items()
    assert "asks for its token" not in fetch(locked.at("/"), jar=jar)[2]


@pytest.mark.parametrize("wrong", ["", "a-token-of-some-lengtH", TOKEN + "x", "ü" * 20])
def test_a_wrong_token_opens_nothing(locked, wrong):
    jar = CookieJar()
    form = urllib.parse.urlencode({"token": wrong}).encode()
    status, _, text = fetch(locked.at("/login"), data=form, jar=jar)
    assert status == 403
    assert "This is not the token" in text
    assert not list(jar)
    assert "asks for its token" in fetch(locked.at("/"), {"Cookie": f"thetadot={TOKEN}"})[2]


def test_the_login_leads_to_no_other_site(locked):
    form = urllib.parse.urlencode({"token": TOKEN}).encode()
    for there in ("//evil.example/", "https://evil.example/", "/\\evil.example", "\\\\evil.example"):
        request = urllib.request.Request(
            locked.at("/login?next=" + urllib.parse.quote(there, safe="")), data=form
        )
        opener = urllib.request.build_opener(_Stay)
        answer = opener.open(request, timeout=60)
        assert re.match(r"/(?![/\\])", answer.headers["Location"]), there


class _Stay(urllib.request.HTTPRedirectHandler):
    def http_error_302(self, req, fp, code, msg, headers):
        return fp


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--address", "0.0.0.0"], "give a token of at least 16 characters"),
        (["--token", "short"], "the token has 5 characters"),
        (["--address", "203.0.113.7", "--token", TOKEN], "cannot listen on 203.0.113.7"),
        (["--port", "99999"], "99999"),
    ],
)
def test_an_address_that_cannot_be_used_is_refused_in_one_line(runs, options, told):
    command = [sys.executable, "-m", "thetadot.cli", "view", str(runs), "--no-browser", *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2
    assert told in done.stderr
    assert "Traceback" not in done.stderr


def test_a_port_that_is_taken_is_named(viewer, runs):
    port = str(urllib.parse.urlsplit(viewer.address).port)
    command = [sys.executable, "-m", "thetadot.cli", "view", str(runs), "--no-browser", "--port", port]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2
    assert (
        done.stderr
        == f"thetadot: port {port} of 127.0.0.1 is taken: choose another with --port, or --port 0\n"
    )


def test_a_directory_that_is_not_there_is_named(tmp_path):
    command = [sys.executable, "-m", "thetadot.cli", "view", str(tmp_path / "nothing")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2
    assert "nothing is not a directory: give a run" in done.stderr
