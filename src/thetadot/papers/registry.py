"""The papers that can be reproduced, by name: a paper is a module of this package that binds `PAPER`."""

import ast
import difflib
import functools
import importlib
import importlib.resources

from thetadot.papers.claims import Paper
from thetadot.papers.errors import ClaimError, UnknownPaperError


@functools.cache
def names() -> tuple[str, ...]:
    """Names of all papers, sorted. Found by reading the files, so that asking imports none of them.

    Example:
        >>> "analytic" in names()
        True
    """
    files = importlib.resources.files("thetadot.papers").iterdir()
    return tuple(
        sorted(
            file.name.removesuffix(".py")
            for file in files
            if file.name.endswith(".py") and "\nPAPER = " in file.read_text(encoding="utf-8")
        )
    )


def titles() -> dict[str, str]:
    """{name: title} of all papers. Read from the files too: importing ten papers takes seconds.

    Example:
        >>> titles()["analytic"]
        'The flow against closed forms'
    """
    return {name: _title(name) for name in names()}


def _title(name: str) -> str:
    tree = ast.parse(
        (importlib.resources.files("thetadot.papers") / f"{name}.py").read_text(encoding="utf-8")
    )
    for call in ast.walk(tree):
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "Paper":
            for word in call.keywords:
                if word.arg == "title" and isinstance(word.value, ast.Constant):
                    return str(word.value.value)
    return load(name).title


def load(name: str) -> Paper:
    """The paper of this name.

    Raises:
        UnknownPaperError: there is none.

    Example:
        >>> load("analytic").title
        'The flow against closed forms'
    """
    if name not in names():
        near = difflib.get_close_matches(name, names(), n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise UnknownPaperError(f"no paper is called {name!r}.{hint} There are: {', '.join(names())}")
    paper = importlib.import_module(f"thetadot.papers.{name}").PAPER
    if not isinstance(paper, Paper):
        raise ClaimError(f"thetadot.papers.{name}.PAPER is {type(paper).__name__}, expected a Paper")
    return paper
