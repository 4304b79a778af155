"""What a machine lacks skips a test with its reason, and fails it where it is demanded."""

import sys

import pytest

from tests import needs


@pytest.fixture
def bare(monkeypatch):
    """A machine with neither PyTorch nor a browser."""
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.setattr(needs, "_chromium", lambda: (None, "needs a Chromium on the PATH"))
    monkeypatch.delenv("THETADOT_REQUIRE", raising=False)
    return monkeypatch


@pytest.mark.parametrize(
    ("call", "name", "reason"),
    [
        (needs.needs_torch, "torch", "needs the extra torch"),
        (needs.chromium_path, "chromium", "needs a Chromium"),
    ],
)
def test_what_is_absent_skips_unless_it_is_demanded(bare, call, name, reason):
    with pytest.raises(pytest.skip.Exception, match=reason):
        call()
    bare.setenv("THETADOT_REQUIRE", "chromium, torch")
    with pytest.raises(pytest.fail.Exception, match=f"demands {name}, which is absent: {reason}"):
        call()
    bare.setenv("THETADOT_REQUIRE", "firefox")
    with pytest.raises(pytest.fail.Exception, match="names firefox: known are torch, chromium"):
        call()


def test_a_chromium_that_does_not_start_is_absent_with_its_message(tmp_path, monkeypatch):
    program = tmp_path / "chromium"
    program.write_text("#!/bin/sh\necho no display >&2\nexit 3\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    needs._chromium.cache_clear()
    try:
        assert needs._chromium() == (None, f"{program} does not start: no display")
    finally:
        needs._chromium.cache_clear()
