"""Runs one page in a process and a directory of its own; keeps what it showed until page or program change.

python docs/live/session.py PAGE.md OUT.json
"""

import base64
import hashlib
import importlib.metadata
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from blocks import Shown, blocks_of, missing_for, needs_of, run_page

ROOT = Path(__file__).resolve().parents[2]
KEPT = ROOT / ".cache" / "docs"
_DIGITS = 16  # of a fingerprint


def shown_on(page: Path, markdown: str) -> list[Shown]:
    """What the blocks of a page show, from the cache if neither the page's blocks nor the program changed.

    Nothing is run, and nothing shown, if the page needs what is not installed.
    """
    if missing_for(markdown):
        return [Shown() for _ in blocks_of(markdown)]
    stem = kept_name(page)
    kept = KEPT / f"{stem}-{_fingerprint(markdown)}.json"
    if not kept.exists():
        KEPT.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory() as directory:
            done = subprocess.run(
                [sys.executable, __file__, str(page.resolve()), str(kept)],
                cwd=directory,
                env=_environment(),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
            )
        if done.returncode != 0:
            raise RuntimeError(f"an example of {page.name} failed:\n{done.stderr}")
        for old in KEPT.glob(f"{stem}-{'?' * _DIGITS}.json"):
            if old != kept:
                old.unlink()
    return [
        Shown(
            entry["printed"],
            [base64.b64decode(figure) for figure in entry["figures"]],
            {name: base64.b64decode(content) for name, content in entry["kept"].items()},
        )
        for entry in json.loads(kept.read_text())
    ]


def kept_name(page: Path) -> str:
    """A page's name in the cache: its path below the root, since pages of two folders may share a name."""
    return page.resolve().relative_to(ROOT).with_suffix("").as_posix().replace("/", "--")


def _environment() -> dict[str, str]:
    return os.environ | {
        "MPLBACKEND": "Agg",
        "COLUMNS": "92",
        "NO_COLOR": "1",
        "JAX_COMPILATION_CACHE_DIR": str(ROOT / ".cache" / "jax"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.3",
    }


def _fingerprint(markdown: str) -> str:
    digest = hashlib.sha256()
    for name in needs_of(markdown):
        digest.update(f"{name} {_version(name)}\n".encode())
    for block in blocks_of(markdown):
        digest.update(f"{block.language} {block.options} {block.run}\n{block.text}".encode())
    running = [Path(__file__), Path(__file__).with_name("blocks.py"), ROOT / "constraints.txt"]
    for file in sorted([*(ROOT / "src").rglob("*.*"), *running]):
        if file.suffix != ".pyc":
            digest.update(file.read_bytes())
    return digest.hexdigest()[:_DIGITS]


def _version(name: str) -> str:
    if importlib.util.find_spec(name) is None:
        return "absent"
    return ", ".join(map(importlib.metadata.version, importlib.metadata.packages_distributions()[name]))


def main(page: Path, out: Path) -> None:
    """Run the page here and write what it showed."""
    shown = [
        {
            "printed": one.printed,
            "figures": [base64.b64encode(figure).decode() for figure in one.figures],
            "kept": {name: base64.b64encode(content).decode() for name, content in one.kept.items()},
        }
        for one in run_page(page.read_text(), page.name)
    ]
    partial = out.with_suffix(".partial")
    partial.write_text(json.dumps(shown))
    partial.replace(out)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
