"""MkDocs hooks: what an example shows is put below it, public names are listed as they are exported, and the built
site loads nothing from outside."""

import importlib
import inspect
import logging
import os
import re
import sys
from html.parser import HTMLParser
from pathlib import Path

from blocks import blocks_of, missing_for
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File
from session import shown_on

import thetadot

_NAMES = {"torch": "PyTorch"}
_log = logging.getLogger("mkdocs.hooks.live")
_shown, _missing = {}, {}


def on_files(files, config):
    """Run every page that has something to run, and add its figures to the site."""
    for file in list(files.documentation_pages()):
        if not any(block.run for block in blocks_of(file.content_string)):
            continue
        if missing := missing_for(file.content_string):
            absent = " and no ".join(_NAMES.get(name, name) for name in missing)
            if set(missing) & set(os.environ.get("THETADOT_REQUIRE", "").split(",")):
                raise PluginError(
                    f"{file.src_uri} cannot be run: THETADOT_REQUIRE is set, and there is no {absent}"
                )
            # Told, but no warning of MkDocs: with --strict that would be an error, and the page may go without.
            _log.info("WARNING: nothing of %s is run: there is no %s here", file.src_uri, absent)
            _missing[file.src_uri] = f"This build of the site had no {absent}"
            for block in blocks_of(file.content_string):  # what the page links to
                if "keep" in block.options:
                    content = f"<!doctype html><title>Left out</title><p>{_missing[file.src_uri]}.</p>"
                    files.append(File.generated(config, block.options["keep"], content=content))
        try:
            _shown[file.src_uri] = shown_on(Path(file.abs_src_path), file.content_string)
        except RuntimeError as error:
            raise PluginError(str(error)) from error
        kept = [item for shown in _shown[file.src_uri] for item in shown.kept.items()]
        for uri, content in [*_figures(file), *kept]:
            files.append(File.generated(config, uri, content=content))
    return files


def on_page_markdown(markdown, page, config, files):
    """Put below each block what it printed and drew, and public names where a page asks for them."""
    markdown = re.sub(r"<!-- the rest of (\S+) -->", lambda wanted: _rest(wanted[1], markdown), markdown)
    entry = r"(?m)^::: (thetadot\.\w+)\.(\w+)$"
    markdown = re.sub(entry, lambda found: f"::: {_home(found[1], found[2])}", markdown)
    if "<!-- names of the top level -->" in markdown:
        markdown = markdown.replace("<!-- names of the top level -->", _top_level())
    if page.file.src_uri not in _shown:
        return markdown
    figures = iter(_figures(page.file))
    pieces, position = [], 0
    # Front matter is gone from `markdown`, so blocks are located anew; their order is that of the run.
    for block, shown in zip(blocks_of(markdown), _shown[page.file.src_uri], strict=True):
        source = markdown[position : block.end]
        source = re.sub(r'(```\w+) (?:(?:alt|show)="[^"]*"|run(?: keep="[^"]*")?)(?=\n)', r"\1", source)
        pieces.append(source)
        position = block.end
        below = []
        if block.run and page.file.src_uri in _missing:
            below += ["", f"*{_missing[page.file.src_uri]}: what the block shows is left out.*"]
        if block.options.get("show") == "markdown":
            below += ["", *shown.printed.splitlines()]
        elif shown.printed.strip():
            below += ["", "``` { .text .shown }", *shown.printed.rstrip().splitlines(), "```"]
        for _ in shown.figures:
            uri, _image = next(figures)
            alt = block.options.get("alt")
            if not alt:
                raise PluginError(f'{page.file.src_uri}: a block draws a figure and has no alt="..."')
            below += ["", f"![{alt}]({_relative(uri, page.file.src_uri)}){{ .shown }}"]
        pieces.append("\n".join(block.indent + line if line else line for line in below))
    return "".join(pieces) + markdown[position:]


def on_post_build(config):
    """Fail if a built page would load anything from another host."""
    found = []
    for page in sorted(Path(config.site_dir).rglob("*.html")):
        parser = _Loads()
        parser.feed(page.read_text())
        found += [f"{page.relative_to(config.site_dir)}: {tag} {address}" for tag, address in parser.found]
    for sheet in sorted(Path(config.site_dir).rglob("*.css")):
        for address in re.findall(r"(?:url\(|@import\s+)['\"]?((?:https?:)?//[^'\")]+)", sheet.read_text()):
            found.append(f"{sheet.relative_to(config.site_dir)}: {address}")
    if found:
        raise PluginError("the site would load from outside:\n" + "\n".join(found))


class _Loads(HTMLParser):
    """Collects what a browser fetches by itself: scripts, styles, images, frames (not links one clicks)."""

    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        fetched = [values.get(name) for name in ("src", "srcset", "data", "poster")]
        if tag == "link" and values.get("rel") not in ("canonical", "prev", "next", "alternate"):
            fetched.append(values.get("href"))
        self.found += [(tag, one) for one in fetched if one and re.match(r"(https?:)?//", one.strip())]


def _rest(package, markdown):
    """Entries for all public names of a package (not its modules) that the page has not placed itself."""
    placed = set(re.findall(rf"^::: {re.escape(package)}\.(\w+)", markdown, re.MULTILINE))
    module = importlib.import_module(package)
    left = [name for name in module.__all__ if name not in placed]
    names = [name for name in left if not inspect.ismodule(getattr(module, name))]
    return "\n\n".join(f"::: {package}.{name}" for name in names)


def _home(package, name):
    """Where a public name is defined; packages that import lazily do not show it to a reader of their source."""
    thing = getattr(importlib.import_module(package), name)
    if inspect.ismodule(thing):
        return thing.__name__
    module = getattr(thing, "__module__", None) or package
    return f"{module}.{name}" if hasattr(sys.modules.get(module), name) else f"{package}.{name}"


def _top_level():
    """A table of the names of the top level, with links to their entries."""
    names_of = {}
    for name in thetadot.__all__:
        home = getattr(getattr(thetadot, name), "__module__", None)
        if home:
            names_of.setdefault(home.split(".")[1], []).append(name)
    rows = ["| package | names |", "|---|---|"]
    for package, names in names_of.items():
        links = ", ".join(f"[`{name}`][{_home('thetadot', name)}]" for name in names)
        rows.append(f"| [{package}]({package}.md) | {links} |")
    return "\n".join(rows)


def _figures(file):
    stem = file.src_uri.removesuffix(".md").replace("/", "-")
    images = [image for shown in _shown[file.src_uri] for image in shown.figures]
    return [(f"figures/{stem}-{number}.png", image) for number, image in enumerate(images, start=1)]


def _relative(uri, page_uri):
    return "../" * page_uri.count("/") + uri
