"""The fenced blocks of a page, and how they are run: the same way by the tests and by the site's build.

A page is a session. Its blocks run from top to bottom in one namespace and one directory:

    ```python                   runs; what it prints and draws is shown below it
    ```python alt="..."         the same, with the text that stands for its figure
    ```python show="markdown"   the same, what it prints being part of the page
    ```yaml title="study.yaml"  is written to that file (any language)
    ```console run              its `$ ...` lines are run as commands
    ```console run keep="FILE"  the same; FILE is then part of the site, under its own path
    ```console                  is only shown

A page that needs what is not always installed says so in its first line, `<!-- needs: torch -->`. Where that is absent
nothing of the page is run.
"""

import ast
import contextlib
import dataclasses
import importlib.util
import io
import re
import shlex
import subprocess
import sys
from pathlib import Path

_FENCE = re.compile(
    r"^(?P<indent>[ ]*)```(?P<language>\w+)(?P<info>[^\n`]*)\n(?P<text>.*?)^(?P=indent)```[ ]*$",
    re.MULTILINE | re.DOTALL,
)
_NEEDS = re.compile(r"\A<!-- needs: ([\w, ]+) -->$", re.MULTILINE)
_OPTION = re.compile(r'(\w+)="([^"]*)"')


@dataclasses.dataclass(frozen=True)
class Block:
    """One fenced block: its language, its text without indentation, its options, and where it stands."""

    language: str
    text: str
    options: dict[str, str]
    run: bool
    indent: str
    line: int
    start: int
    end: int


@dataclasses.dataclass
class Shown:
    """What a block left behind: printed text, its figures as PNG, the files that the site keeps."""

    printed: str = ""
    figures: list[bytes] = dataclasses.field(default_factory=list)
    kept: dict[str, bytes] = dataclasses.field(default_factory=dict)


def blocks_of(markdown: str) -> list[Block]:
    """All fenced blocks of a page, in order."""
    found = []
    for match in _FENCE.finditer(markdown):
        indent = match["indent"]
        lines = match["text"].splitlines()
        options = dict(_OPTION.findall(match["info"]))
        bare = _OPTION.sub("", match["info"]).split()
        found.append(
            Block(
                language=match["language"],
                text="\n".join(line.removeprefix(indent) for line in lines) + "\n",
                options=options,
                run=(match["language"] == "python" and "title" not in options) or "run" in bare,
                indent=indent,
                line=markdown.count("\n", 0, match.start()) + 1,
                start=match.start(),
                end=match.end(),
            )
        )
    return found


def needs_of(markdown: str) -> list[str]:
    """The optional packages that a page needs, by the names under which they are imported."""
    found = _NEEDS.match(markdown)
    return [name.strip() for name in found[1].split(",")] if found else []


def missing_for(markdown: str) -> list[str]:
    """Those of them that are not installed here."""
    return [name for name in needs_of(markdown) if importlib.util.find_spec(name) is None]


def commands_of(block: Block) -> list[list[str]]:
    """The commands of a console block: its lines that start with `$ `, comments removed."""
    lines = block.text.replace("\\\n", " ").splitlines()
    return [shlex.split(line[2:], comments=True) for line in lines if line.startswith("$ ")]


def run_page(markdown: str, name: str) -> list[Shown]:
    """Run the blocks of a page in the current directory; one `Shown` per block, empty for those only shown.

    Args:
        markdown: the page.
        name: its file, so that a traceback names page and line.
    """
    namespace = {"__name__": "__main__"}
    here = str(Path.cwd())
    sys.path.insert(0, here)  # files that the page writes can be imported, as where a reader works
    try:
        return [_run(block, namespace, name) for block in blocks_of(markdown)]
    finally:
        sys.path.remove(here)


def _run(block: Block, namespace: dict, name: str) -> Shown:
    if "title" in block.options:
        Path(block.options["title"]).write_text(block.text)
        return Shown()
    if block.run and block.language == "python":
        return _run_python(block, namespace, name)
    return _run_commands(block, name) if block.run else Shown()


def _run_python(block: Block, namespace: dict, name: str) -> Shown:
    tree = ast.parse("\n" * block.line + block.text, name)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    printed = io.StringIO()
    value = None
    with contextlib.redirect_stdout(printed):
        exec(compile(tree, name, "exec"), namespace)
        if last is not None:
            value = eval(compile(ast.Expression(last.value), name, "eval"), namespace)
    return Shown(printed.getvalue(), _take_figures(value))


def _take_figures(value: object) -> list[bytes]:
    """The figures that are open, and the one whose axes were the value of the block's last line."""
    if "matplotlib" not in sys.modules:
        return []
    import matplotlib.pyplot as plt

    figures = [plt.figure(number) for number in plt.get_fignums()]
    own = getattr(value, "figure", None)
    if own is not None and own not in figures:
        figures.append(own)
    images = []
    for figure in figures:
        file = io.BytesIO()
        figure.savefig(file, format="png", dpi=150, bbox_inches="tight", facecolor="white")
        images.append(file.getvalue())
    plt.close("all")
    return images


def _run_commands(block: Block, name: str) -> Shown:
    commands = [words for words in commands_of(block) if words[0] != "source"]
    printed = "".join(_run_command(words, f"{name}:{block.line}") for words in commands)
    kept = [block.options["keep"]] if "keep" in block.options else []
    return Shown(printed, kept={file: Path(file).read_bytes() for file in kept})


def _run_command(words: list[str], where: str) -> str:
    program = Path(sys.executable).parent / words[0]
    done = subprocess.run(
        [program, *words[1:]],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        raise RuntimeError(
            f"{where}: `{shlex.join(words)}` ended with {done.returncode}:\n{done.stdout}{done.stderr}"
        )
    return done.stdout
