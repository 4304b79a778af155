"""What some tests need and a machine may lack: PyTorch, a browser.

Where it is absent such a test is skipped with the reason. `THETADOT_REQUIRE=torch,chromium` makes its absence a
failure instead: what has to run on the machine that judges a change cannot pass there by being skipped.
"""

import functools
import importlib
import os
import shutil
import subprocess
from types import ModuleType
from typing import NoReturn

import pytest

_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
CHROMIUM_FLAGS = (
    "--no-sandbox",  # runs as root too
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def needs_torch() -> ModuleType:
    """PyTorch; without it the test, or at a module's top all of its tests, is skipped.

    Put `torch = needs_torch()` at the top of a test module, or into a test.
    """
    try:
        return importlib.import_module("torch")
    except ImportError as error:
        problem = str(error)
    _absent("torch", f"needs the extra torch: pip install 'thetadot[torch]' ({problem})")


def chromium_path() -> str:
    """The path of a Chromium that starts; without it the test is skipped. See also the fixture `chromium`."""
    path, problem = _chromium()
    if path is None:
        _absent("chromium", problem)
    return path


@functools.cache
def _chromium() -> tuple[str | None, str]:
    found = next(filter(None, map(shutil.which, _BROWSERS)), None)
    if found is None:
        return (
            None,
            f"needs a Chromium on the PATH (looked for {', '.join(_BROWSERS)}): apt-get install chromium",
        )
    done = subprocess.run([found, "--version", *CHROMIUM_FLAGS], capture_output=True, text=True)
    if done.returncode != 0:
        return None, f"{found} does not start: {done.stderr.strip() or done.stdout.strip()}"
    return found, ""


def _absent(name: str, reason: str) -> NoReturn:
    required = {word.strip() for word in os.environ.get("THETADOT_REQUIRE", "").split(",")} - {""}
    unknown = required - {"torch", "chromium"}
    if unknown:
        pytest.fail(
            f"THETADOT_REQUIRE names {', '.join(sorted(unknown))}: known are torch, chromium", pytrace=False
        )
    if name in required:
        pytest.fail(f"THETADOT_REQUIRE demands {name}, which is absent: {reason}", pytrace=False)
    pytest.skip(reason, allow_module_level=True)
