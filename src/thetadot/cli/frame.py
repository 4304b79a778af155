"""The frame of every command: exit codes, one line about an error, printing."""

import functools
import json
import os
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from thetadot import __version__
from thetadot.errors import ThetadotError

DONE, MISSED, BAD_INPUT, STOPPED, INTERNAL = 0, 1, 2, 3, 4
EXIT_CODES = (
    "Exit codes: 0 done; 1 ran, but an accuracy was missed or a claim FAILS; 2 bad input; "
    "3 stopped by budget or interrupt, the same command resumes; 4 internal error."
)

app = typer.Typer(
    help="θ̇ = −∇L(θ): the training of a neural network as a dynamical system.\n\n"
    "To begin: `thetadot run quickstart`, and open the report that it names. Then `thetadot list`: other studies, "
    "and how to begin one of your own.\n\n" + EXIT_CODES,
    epilog="Example: thetadot run quickstart",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Directory = Annotated[Path, typer.Argument(help="Run directory.", show_default=False)]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]


def command(example: str) -> Callable[[Callable[..., int | None]], Callable[..., None]]:
    """A command that ends with an exit code and one line, never with a traceback."""

    def decorate(function: Callable[..., int | None]) -> Callable[..., None]:
        @functools.wraps(function)
        def guarded(*args: Any, **kwargs: Any) -> None:
            raise typer.Exit(_guarded(function, *args, **kwargs))

        name = function.__name__.rstrip("_").replace("_", "-")
        return app.command(name, epilog=f"Example: {example}")(guarded)

    return decorate


def _guarded(function: Callable[..., int | None], *args: Any, **kwargs: Any) -> int:
    warnings.showwarning = _show_warning
    try:
        return function(*args, **kwargs) or DONE
    except ThetadotError as error:
        complain(str(error))
        return STOPPED if getattr(error, "resumable", False) else BAD_INPUT
    except KeyboardInterrupt:
        complain("interrupted; what was committed stays, the same command resumes it")
        return STOPPED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except Exception as error:
        complain(internal_error(error))
        return INTERNAL


def internal_error(error: Exception) -> str:
    """One line about an exception that is being handled; its traceback goes into a file."""
    log = _error_log()
    reason = " ".join(str(error).split())[:200]
    return f"internal error: {type(error).__name__}: {reason}; the details are in {log}: please report them"


def complain(message: str) -> None:
    """One line to standard error."""
    print(f"thetadot: {' '.join(message.split())}", file=sys.stderr)


def _show_warning(
    message: Any, category: type, filename: str, lineno: int, file: Any = None, line: Any = None
) -> None:
    print(f"thetadot: warning: {' '.join(str(message).split())}", file=sys.stderr)


def _error_log() -> str:
    with tempfile.NamedTemporaryFile(
        "w", prefix="thetadot-error-", suffix=".log", delete=False, encoding="utf-8"
    ) as file:
        file.write(f"thetadot {__version__}, {sys.version}\n{sys.argv}\n\n{traceback.format_exc()}")
    return file.name


def print_rich(content: Any) -> None:
    """Print a text, or anything that rich can show."""
    from rich.console import Console

    console = Console(width=None if sys.stdout.isatty() else 160)
    console.print(content, markup=False, highlight=False, soft_wrap=isinstance(content, str))


def print_json(content: Any) -> None:
    """Print JSON for machines."""
    print(json.dumps(content, indent=1, ensure_ascii=False))


def _version(wanted: bool) -> bool:
    if wanted:
        print(f"thetadot {__version__}")
        raise typer.Exit()
    return wanted


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass
