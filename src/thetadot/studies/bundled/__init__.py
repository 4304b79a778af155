"""The studies that come with thetadot, each a YAML file here: `from thetadot.studies.bundled import
quickstart`. A study that stands beside a paper has the paper's name in front of its own."""

import dataclasses
import functools
import importlib.resources
import re

_FIRST = "quickstart"


@dataclasses.dataclass(frozen=True)
class Overview:
    """What `thetadot list` tells of a study.

    Attributes:
        description: what one will see. takes: about how long it takes.
    """

    description: str
    takes: str

    @property
    def sentence(self) -> str:
        """The first sentence of the description."""
        return re.split(r"(?<=[.?]) ", self.description)[0]


@functools.cache
def names() -> tuple[str, ...]:
    """Names of the studies that come with thetadot, the one to begin with first.

    Example:
        >>> names()[0]
        'quickstart'
    """
    files = importlib.resources.files(__name__).iterdir()
    found = sorted(file.name.removesuffix(".yaml") for file in files if file.name.endswith(".yaml"))
    return tuple(sorted(found, key=lambda name: name != _FIRST))


def text(name: str) -> str:
    """The file of a study, to begin one of your own; files that it names are found from anywhere.

    Example:
        >>> text("quickstart").splitlines()[1]
        'name: quickstart'
    """
    here = importlib.resources.files(__name__)
    written = (here / f"{name}.yaml").read_text(encoding="utf-8")
    return re.sub(
        r"\b(file|path): (\w+\.(?:py|csv))", lambda found: f"{found[1]}: {here / found[2]}", written
    )


def overview() -> dict[str, Overview]:
    """{name: what it shows}, read without checking the studies, which would load every lens.

    Example:
        >>> overview()["grokking_small"].takes
        '20 s'
    """
    import yaml

    found = {}
    for name in names():
        data = yaml.safe_load(text(name))
        found[name] = Overview(str(data["description"]).strip(), str(data["takes"]))
    return found


def __getattr__(name: str):
    from thetadot.studies.study import Study

    if name in names():
        return Study.load(name)
    raise AttributeError(f"thetadot has no bundled study {name!r}; it has {', '.join(names())}")
