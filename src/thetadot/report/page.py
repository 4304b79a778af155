"""One self-contained HTML file: everything inline, nothing fetched, no script but those that are named by
their hash."""

import base64
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path as FilePath
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from thetadot.dynamics.palette import DARK, member_dashes, rule_colour
from thetadot.report.theme import variables

LIBRARY_PARTS = ("bokeh",)


def environment() -> Environment:
    """Jinja with everything escaped, and no silence about names that are missing."""
    jinja = Environment(
        loader=PackageLoader("thetadot.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    jinja.globals.update(swatch=swatch)
    return jinja


def render(template: str, content: Mapping[str, Any], figures: Mapping[str, Any]) -> str:
    """A page from its template.

    Arguments:
        template: name of the template.
        content: what it speaks of.
        figures: {id: Bokeh JSON}; without any, the library stays out.
    """
    jinja = environment()
    scripts = [_source("mark.js")]
    if figures:
        scripts.append(library())
    scripts.append(_source("page.js"))
    style = (
        _source("page.css")
        .replace("/*light*/", variables(dark=False))
        .replace("/*dark*/", variables(dark=True))
    )
    return jinja.get_template(template).render(
        **content,
        style=Markup(style),
        first_script=Markup(scripts[0]),
        scripts=[Markup(script) for script in scripts[1:]],
        policy=policy(scripts),
        figures_json=_json(figures),
        twins_json=_json(DARK),
    )


def library() -> str:
    """BokehJS, minified; the closing tag of a script, should it occur in a string of it, is split."""
    from bokeh.resources import Resources

    source = "\n".join(Resources(mode="inline", minified=True, components=list(LIBRARY_PARTS)).js_raw)
    return source.replace("</script", "<\\/script").replace("<!--", "<\\!--")


def policy(scripts: list[str]) -> str:
    """A Content-Security-Policy under which the page can fetch nothing and run only its own scripts."""
    hashes = " ".join(
        "'sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() + "'"
        for script in scripts
    )
    return (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data: blob:; "
        "font-src data:; base-uri 'none'; form-action 'none'"
    )


def swatch(kind: str, index: int) -> Markup:
    """A short line in the colour of a rule, or in the dash pattern of a member."""
    if kind == "member":
        dashes, colour = member_dashes(index), "currentColor"
    else:
        dashes, colour = (), f"var(--c-{rule_colour(index)[1:]})"
    pattern = f' stroke-dasharray="{" ".join(f"{2 * part:g}" for part in dashes)}"' if dashes else ""
    return Markup(
        '<svg class="swatch" aria-hidden="true" width="30" height="10" viewBox="0 0 30 10">'
        f'<line x1="1" y1="5" x2="29" y2="5" stroke="{colour}" stroke-width="2.5"{pattern}/></svg>'
    )


def write(text: str, file: str | FilePath) -> FilePath:
    """Write a page; the folder is made if it does not exist. Returns its path."""
    place = FilePath(file)
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(text, encoding="utf-8")
    return place


def _source(name: str) -> str:
    return (FilePath(__file__).parent / "templates" / name).read_text(encoding="utf-8")


def _json(value: Any) -> Markup:
    """JSON that is safe inside a script element."""
    text = json.dumps(value, allow_nan=False, ensure_ascii=False)
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))
