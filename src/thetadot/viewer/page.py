"""The frame of every page, in the look of the report: templates, and pieces of HTML in which all text is escaped."""

import functools
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, PrefixLoader, StrictUndefined, Template
from markupsafe import Markup
from panel.io.resources import LOCAL_DIST

from thetadot.report.page import swatch
from thetadot.report.theme import variables

ASSETS = Path(__file__).parent / "assets"
STYLE = "assets/page.css"
NONCE = secrets.token_urlsafe(18)
"""Which inline scripts of ours a browser may run; unknown to whoever wrote a run."""


@functools.cache
def environment() -> Environment:
    """Jinja with everything escaped, and no silence about names that are missing."""
    own, report = (PackageLoader(f"thetadot.{name}", "templates") for name in ("viewer", "report"))
    jinja = Environment(
        loader=PrefixLoader({"viewer": own, "report": report}),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    jinja.globals.update(swatch=swatch)
    jinja.filters["ours"] = _ours
    return jinja


def render(template: str, **content: Any) -> Markup:
    """A template of the viewer as HTML."""
    return Markup(environment().get_template(f"viewer/{template}").render(**content))


def frame(title: str, where: str) -> tuple[Template, Mapping[str, Any]]:
    """Template and variables of a page, for Bokeh to fill with its parts.

    Arguments:
        title: of the page.
        where: which entry of the navigation it is.
    """
    # Panel learns only while it renders a page where its files are, and looks for them in the network where a session
    # is made anew without that (a browser that took long to connect).
    return environment().get_template("viewer/page.html.j2"), {
        "dist_url": LOCAL_DIST,
        "heading": title,
        "where": where,
        "nonce": NONCE,
    }


def style() -> str:
    """The style sheet: the report's, with the viewer's after it."""
    report = environment().get_template("report/page.css").render()
    light, dark = variables(dark=False), variables(dark=True)
    sheet = report.replace("/*light*/", light).replace("/*dark*/", dark)
    return sheet + (ASSETS / "viewer.css").read_text(encoding="utf-8")


def _ours(scripts: str, nonce: str) -> Markup:
    """Scripts that Bokeh made, with the nonce under which a browser runs them."""
    return Markup(str(scripts).replace("<script", f'<script nonce="{nonce}"'))
