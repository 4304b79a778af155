"""Reads a page as a browser would: elements, attributes, texts of scripts and styles."""

import html.parser
import json
import re

REFERRING = {
    "src",
    "href",
    "xlink:href",
    "srcset",
    "data",
    "action",
    "formaction",
    "poster",
    "background",
    "cite",
    "ping",
}

VOID = {"meta", "link", "img", "br", "hr", "input", "line", "circle", "path", "rect", "use", "polyline"}


class Page(html.parser.HTMLParser):
    """The elements of a page in order.

    Attributes:
        elements: (tag, attributes, position in the stack of open elements).
        texts: {tag: texts of its elements}, of scripts, styles and titles.
        body: all visible text.
    """

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.elements, self.texts, self.body, self._open = [], {}, "", []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs), tuple(self._open)))
        if tag in ("script", "style", "title", "h1", "h2", "h3"):
            self.texts.setdefault(tag, []).append("")
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs), tuple(self._open)))

    def handle_endtag(self, tag):
        while tag in self._open and self._open.pop() != tag:
            pass

    def handle_data(self, data):
        for tag in ("script", "style", "title", "h1", "h2", "h3"):
            if tag in self._open[-2:]:
                self.texts[tag][-1] += data
        if not {"script", "style"} & set(self._open):
            self.body += data

    def all(self, tag):
        """Attributes of every element of a kind."""
        return [attributes for name, attributes, _ in self.elements if name == tag]

    @property
    def ids(self):
        """Every id, in order."""
        return [attributes["id"] for _, attributes, _ in self.elements if "id" in attributes]

    @property
    def executable(self):
        """Texts of the scripts that run."""
        kinds = [attributes.get("type", "") for attributes in self.all("script")]
        return [
            text for text, kind in zip(self.texts["script"], kinds, strict=True) if kind != "application/json"
        ]

    def json(self, name):
        """Content of the JSON script with this id; numbers that are not finite are refused."""

        def refuse(word):
            raise AssertionError(f"{word} in {name}")

        texts = dict(zip([a.get("id") for a in self.all("script")], self.texts["script"], strict=True))
        return json.loads(texts[name], parse_constant=refuse)

    @property
    def references(self):
        """Everything that the page would fetch or point at: attributes, and url() and @import in styles."""
        found = [
            value
            for _, attributes, _ in self.elements
            for name, value in attributes.items()
            if name in REFERRING and value is not None
        ]
        styles = self.texts.get("style", []) + [a["style"] for _, a, _ in self.elements if "style" in a]
        styles += [
            str(v)
            for _, a, _ in self.elements
            for k, v in a.items()
            if k in ("clip-path", "fill", "filter", "mask")
        ]
        for style in styles:
            found += re.findall(r"url\(\s*['\"]?([^'\")]*)", style)
            found += re.findall(r"@import\s+['\"]?([^;'\"]*)", style)
        return found
